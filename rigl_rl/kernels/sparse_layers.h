#ifndef RIGL_RL_KERNELS_SPARSE_LAYERS_H_
#define RIGL_RL_KERNELS_SPARSE_LAYERS_H_

#include <cstdint>

namespace rigl_rl {

enum class Activation { kLinear = 0, kRelu = 1, kTanh = 2 };

// Floats per vector; also the smallest number of examples that is computed.
constexpr int64_t kLanes = 16;

// Where the active weights of a layer are. A weight is identified by its
// position among the values, which are sorted by output, then by input.
//
// A layer that is not stored sparsely has no positions: its values are a kernel
// (inputs, outputs).
struct SparseStructure {
  int64_t inputs;
  int64_t outputs;
  int64_t capacity;  // Values there is room for; those in use come first.
  // The weights of output j have the positions output_begins[j], ...,
  // output_begins[j + 1] - 1, and come from `sources`.
  const int32_t* output_begins;
  const int32_t* sources;
  // Those of input i are entries input_begins[i], ... of `targets`, their
  // outputs, and of `positions`.
  const int32_t* input_begins;
  const int32_t* targets;
  const int32_t* positions;

  // Integers that hold all of the above.
  static int64_t Size(int64_t inputs, int64_t outputs, int64_t capacity) {
    return (outputs + 1) + (inputs + 1) + 3 * capacity;
  }
  // Their order in `data`.
  static SparseStructure At(const int32_t* data, int64_t inputs,
                            int64_t outputs, int64_t capacity);
  bool is_kernel() const { return output_begins == nullptr; }
  int64_t count() const {
    return is_kernel() ? inputs * outputs : output_begins[outputs];
  }
  // Whether all weights are active; then they form an (outputs, inputs) array,
  // or a kernel.
  bool is_full() const { return count() == inputs * outputs; }
  // Whether the begins are in order, and within the capacity.
  bool IsSound() const;
};

// Writes the structure of a mask (inputs, outputs), which must have at most
// `capacity` ones.
void WriteStructure(const float* mask, int64_t inputs, int64_t outputs,
                    int64_t capacity, int32_t* data);
int64_t CountActive(const float* mask, int64_t size);
// Between the values and a kernel (inputs, outputs).
void GatherValues(const SparseStructure& structure, const float* kernel,
                  float* values);
// Writes values [begin, end) of those that are sorted by input, then by output.
void SortByInput(const SparseStructure& structure, const float* values,
                 int64_t begin, int64_t end, float* sorted);
void ScatterValues(const SparseStructure& structure, const float* values,
                   float* kernel);

// Examples [begin, end), both multiples of kLanes, of rows [first, last).
struct Range {
  int64_t begin;
  int64_t end;
  int64_t first;
  int64_t last;
};

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_SPARSE_LAYERS_H_
