#include "sparse_layers.h"

#include <algorithm>
#include <cstring>

namespace rigl_rl {

SparseStructure SparseStructure::At(const int32_t* data, int64_t inputs,
                                    int64_t outputs, int64_t capacity) {
  SparseStructure s;
  s.inputs = inputs;
  s.outputs = outputs;
  s.capacity = capacity;
  s.output_begins = data;
  s.input_begins = s.output_begins + outputs + 1;
  s.sources = s.input_begins + inputs + 1;
  s.targets = s.sources + capacity;
  s.positions = s.targets + capacity;
  return s;
}

bool SparseStructure::IsSound() const {
  const auto is_sound = [this](const int32_t* begins, int64_t size) {
    int32_t is_wrong = begins[0] != 0 || begins[size] > capacity;
    // Without an early exit the loop is vectorized; every operation runs it.
    for (int64_t i = 0; i < size; ++i) is_wrong |= begins[i] > begins[i + 1];
    return is_wrong == 0;
  };
  return is_sound(output_begins, outputs) && is_sound(input_begins, inputs) &&
         output_begins[outputs] == input_begins[inputs];
}

int64_t CountActive(const float* mask, int64_t size) {
  return std::count_if(mask, mask + size, [](float m) { return m != 0.0f; });
}

void WriteStructure(const float* mask, int64_t inputs, int64_t outputs,
                    int64_t capacity, int32_t* data) {
  std::memset(data, 0,
              SparseStructure::Size(inputs, outputs, capacity) *
                  sizeof(int32_t));
  int32_t* output_begins = data;
  int32_t* input_begins = output_begins + outputs + 1;
  int32_t* sources = input_begins + inputs + 1;
  int32_t* targets = sources + capacity;
  int32_t* positions = targets + capacity;
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = 0; j < outputs; ++j) {
      const int active = mask[i * outputs + j] != 0.0f;
      output_begins[j + 1] += active;
      input_begins[i + 1] += active;
    }
  }
  for (int64_t j = 0; j < outputs; ++j) output_begins[j + 1] += output_begins[j];
  for (int64_t i = 0; i < inputs; ++i) input_begins[i + 1] += input_begins[i];
  // Where the next weight of each output goes.
  int32_t* next = new int32_t[outputs];
  std::copy_n(output_begins, outputs, next);
  int64_t entry = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = 0; j < outputs; ++j) {
      if (mask[i * outputs + j] == 0.0f) continue;
      const int32_t position = next[j]++;
      sources[position] = i;
      targets[entry] = j;
      positions[entry] = position;
      ++entry;
    }
  }
  delete[] next;
}

void GatherValues(const SparseStructure& s, const float* kernel,
                  float* values) {
  for (int64_t j = 0; j < s.outputs; ++j) {
    for (int64_t k = s.output_begins[j]; k < s.output_begins[j + 1]; ++k) {
      values[k] = kernel[s.sources[k] * s.outputs + j];
    }
  }
  std::fill(values + s.count(), values + s.capacity, 0.0f);
}

void SortByInput(const SparseStructure& s, const float* values, int64_t begin,
                 int64_t end, float* sorted) {
  for (int64_t k = begin; k < end; ++k) sorted[k] = values[s.positions[k]];
}

void ScatterValues(const SparseStructure& s, const float* values,
                   float* kernel) {
  std::fill_n(kernel, s.inputs * s.outputs, 0.0f);
  for (int64_t j = 0; j < s.outputs; ++j) {
    for (int64_t k = s.output_begins[j]; k < s.output_begins[j + 1]; ++k) {
      kernel[s.sources[k] * s.outputs + j] = values[k];
    }
  }
}

}  // namespace rigl_rl
