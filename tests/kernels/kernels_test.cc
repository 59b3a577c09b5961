// Calls every function of kernels.h, for every kind of processor that this one
// can emulate, with buffers that are exactly as large as they must be, and
// compares the results with plain loops, or bit for bit with the portable
// kind. To be compiled with the sanitizers: arithmetic_test.py does that.
//
// Prints the names of the kinds that were tested, the best last; at the first
// difference, it says where and exits with 1. With an argument it prints which
// kind would be used, and tests nothing.

#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "convolutions_test.h"

namespace rigl_rl {
namespace {

std::mt19937 generator(0);

// Never written: it makes any sum NaN.
constexpr float kUnwritten = NAN;

// On the heap, and not an element longer than asked for.
template <typename T>
class Buffer {
 public:
  Buffer(int64_t size, T value) : size_(size), data_(new T[size]) {
    std::fill_n(data_.get(), size, value);
  }
  T* data() { return data_.get(); }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  int64_t size_;
  std::unique_ptr<T[]> data_;
};
using Floats = Buffer<float>;

Floats Draw(int64_t size) {
  std::normal_distribution<float> normal;
  Floats numbers(size, 0.0f);
  for (int64_t i = 0; i < size; ++i) numbers[i] = normal(generator);
  return numbers;
}

struct Case {
  const char* kind;
  int64_t inputs, outputs, examples, room;
  double density;
  Activation activation;
};

void Check(const Case& c, const char* what, int64_t at, double found,
           double expected) {
  if (std::abs(found - expected) <= 2e-5 * (10 + std::abs(expected))) return;
  std::fprintf(stderr,
               "%s, %ld x %ld x %ld, density %g, room %ld, activation %d: "
               "%s[%ld] is %g, not %g\n",
               c.kind, static_cast<long>(c.inputs),
               static_cast<long>(c.outputs), static_cast<long>(c.examples),
               c.density, static_cast<long>(c.room),
               static_cast<int>(c.activation), what, static_cast<long>(at),
               found, expected);
  std::exit(1);
}

double Activate(Activation activation, double v) {
  if (activation == Activation::kRelu) return v > 0 ? v : 0;
  if (activation == Activation::kTanh) return std::tanh(v);
  return v;
}

double Slope(Activation activation, double y) {
  if (activation == Activation::kRelu) return y > 0 ? 1 : 0;
  if (activation == Activation::kTanh) return 1 - y * y;
  return 1;
}

// A layer, stored in both ways.
struct Layer {
  explicit Layer(const Case& c)
      : mask(c.inputs * c.outputs, 0.0f),
        kernel(Draw(c.inputs * c.outputs)),
        bias(Draw(c.outputs)) {
    std::bernoulli_distribution is_active(c.density);
    for (int64_t i = 0; i < c.inputs; ++i) {
      for (int64_t j = 0; j < c.outputs; ++j) {
        // If it is not all dense, the middle row and column are empty.
        const bool is_left_out =
            c.density < 1 && (i == c.inputs / 2 || j == c.outputs / 2);
        const int64_t at = i * c.outputs + j;
        mask[at] = !is_left_out && is_active(generator);
        kernel[at] *= mask[at];
      }
    }
    count = CountActive(mask.data(), mask.size());
    capacity = count + c.room;
    data = std::make_unique<Buffer<int32_t>>(
        SparseStructure::Size(c.inputs, c.outputs, capacity), -1);
    WriteStructure(mask.data(), c.inputs, c.outputs, capacity, data->data());
    structure =
        SparseStructure::At(data->data(), c.inputs, c.outputs, capacity);
    values = std::make_unique<Floats>(capacity, kUnwritten);
    GatherValues(structure, kernel.data(), values->data());
  }

  Floats mask, kernel, bias;
  int64_t count, capacity;
  std::unique_ptr<Buffer<int32_t>> data;
  SparseStructure structure;
  std::unique_ptr<Floats> values;
};

void TestStructure(const Case& c) {
  Layer layer(c);
  const SparseStructure& s = layer.structure;
  Check(c, "count", 0, s.count(), layer.count);
  Check(c, "IsSound", 0, s.IsSound(), true);
  int64_t k = 0;
  for (int64_t j = 0; j < c.outputs; ++j) {
    Check(c, "output_begins", j, s.output_begins[j], k);
    for (int64_t i = 0; i < c.inputs; ++i) {
      if (layer.mask[i * c.outputs + j] == 0) continue;
      Check(c, "sources", k, s.sources[k], i);
      Check(c, "values", k, (*layer.values)[k], layer.kernel[i * c.outputs + j]);
      ++k;
    }
  }
  for (; k < layer.capacity; ++k) {
    Check(c, "spare values", k, (*layer.values)[k], 0);
  }
  k = 0;
  for (int64_t i = 0; i < c.inputs; ++i) {
    Check(c, "input_begins", i, s.input_begins[i], k);
    for (int64_t j = 0; j < c.outputs; ++j) {
      if (layer.mask[i * c.outputs + j] == 0) continue;
      Check(c, "targets", k, s.targets[k], j);
      Check(c, "positions", k, s.sources[s.positions[k]], i);
      Check(c, "positions", k, s.output_begins[j] <= s.positions[k], true);
      Check(c, "positions", k, s.positions[k] < s.output_begins[j + 1], true);
      ++k;
    }
  }
  Floats kernel(c.inputs * c.outputs, kUnwritten);
  ScatterValues(s, layer.values->data(), kernel.data());
  for (int64_t i = 0; i < kernel.size(); ++i) {
    Check(c, "scattered", i, kernel[i], layer.kernel[i]);
  }
}

int64_t RoundUp(int64_t examples) {
  return (examples + kLanes - 1) / kLanes * kLanes;
}

// Rows side by side, or with room in between.
int64_t DrawStride(const Case& c) {
  return RoundUp(c.examples) + generator() % 2 * kLanes;
}

void TestColumns(const Case& c, const Kernels& kernels) {
  const int64_t stride = DrawStride(c);
  Floats x = Draw(c.examples * c.inputs);
  Floats columns(c.inputs * stride, kUnwritten);
  Floats back(c.examples * c.inputs, kUnwritten);
  kernels.to_columns(x.data(), c.examples, c.inputs, stride, columns.data());
  kernels.from_columns(columns.data(), c.examples, c.inputs, stride,
                       back.data());
  for (int64_t i = 0; i < c.inputs; ++i) {
    for (int64_t b = 0; b < RoundUp(c.examples); ++b) {
      const float expected = b < c.examples ? x[b * c.inputs + i] : 0.0f;
      Check(c, "columns", i * stride + b, columns[i * stride + b], expected);
    }
  }
  for (int64_t i = 0; i < x.size(); ++i) Check(c, "back", i, back[i], x[i]);
}

std::vector<float> Copy(Floats& numbers) {
  return {numbers.data(), numbers.data() + numbers.size()};
}

// Only [begin, end) have changed.
void CheckUntouched(const Case& c, int64_t begin, int64_t end,
                    const std::vector<float>& before, Floats& after) {
  for (int64_t i = 0; i < after.size(); ++i) {
    if (begin <= i && i < end) continue;
    const bool is_same = std::memcmp(&after[i], &before[i], sizeof(float)) == 0;
    Check(c, "untouched", i, is_same, true);
  }
}

// Calls `work` for all examples and rows, by parts of either.
template <typename Work>
void ForParts(int64_t end, int64_t rows, bool by_rows, const Work& work) {
  if (by_rows) {
    const int64_t middle = rows / 3;
    work(Range{0, end, middle, rows});
    work(Range{0, end, 0, middle});
  } else {
    const int64_t middle = end / kLanes / 3 * kLanes;
    work(Range{middle, end, 0, rows});
    work(Range{0, middle, 0, rows});
  }
}

// `as_kernel`: with all weights, as a kernel (inputs, outputs).
void TestArithmetic(const Case& c, const Kernels& kernels, bool by_rows,
                    bool has_bias, bool as_kernel) {
  Layer layer(c);
  const int64_t size = c.inputs * c.outputs;
  const SparseStructure s =
      as_kernel ? SparseStructure{c.inputs, c.outputs, size} : layer.structure;
  const float* values =
      as_kernel ? layer.kernel.data() : layer.values->data();
  const int64_t stride = DrawStride(c);
  const int64_t end = RoundUp(c.examples);
  float* bias = has_bias ? layer.bias.data() : nullptr;
  const auto columns = [&](int64_t rows) {
    Floats x = Draw(c.examples * rows);
    Floats found(rows * stride, kUnwritten);
    kernels.to_columns(x.data(), c.examples, rows, stride, found.data());
    return found;
  };
  Floats x = columns(c.inputs);

  Floats y(c.outputs * stride, kUnwritten);
  ForParts(end, c.outputs, by_rows, [&](Range range) {
    kernels.forward(s, values, bias, c.activation, x.data(),
                    y.data(), stride, range);
  });
  for (int64_t j = 0; j < c.outputs; ++j) {
    for (int64_t b = 0; b < end; ++b) {
      double sum = has_bias ? layer.bias[j] : 0.0;
      for (int64_t i = 0; i < c.inputs; ++i) {
        sum += static_cast<double>(layer.kernel[i * c.outputs + j]) *
               x[i * stride + b];
      }
      Check(c, "y", j * stride + b, y[j * stride + b],
            Activate(c.activation, sum));
    }
  }

  Floats dy = columns(c.outputs);
  Floats before(dy.size(), 0.0f);
  std::copy_n(dy.data(), dy.size(), before.data());
  ForParts(end, c.outputs, by_rows, [&](Range range) {
    kernels.activation_gradient(c.activation, y.data(), dy.data(), stride,
                                range);
  });
  for (int64_t j = 0; j < c.outputs; ++j) {
    for (int64_t b = 0; b < end; ++b) {
      const int64_t at = j * stride + b;
      Check(c, "dy", at, dy[at], before[at] * Slope(c.activation, y[at]));
    }
  }

  Floats sorted(layer.count, kUnwritten);
  SortByInput(layer.structure, layer.values->data(), 0, layer.count,
              sorted.data());
  // Once as if `x` were the activation of a layer before.
  for (const bool has_layer_before : {false, true}) {
    Floats dx(c.inputs * stride, kUnwritten);
    ForParts(end, c.inputs, by_rows, [&](Range range) {
      kernels.input_gradient(s, as_kernel ? values : sorted.data(),
                             c.activation,
                             has_layer_before ? x.data() : nullptr, dy.data(),
                             dx.data(), stride, range);
    });
    for (int64_t i = 0; i < c.inputs; ++i) {
      for (int64_t b = 0; b < end; ++b) {
        const int64_t at = i * stride + b;
        double sum = 0;
        for (int64_t j = 0; j < c.outputs; ++j) {
          sum += static_cast<double>(layer.kernel[i * c.outputs + j]) *
                 dy[j * stride + b];
        }
        if (has_layer_before) sum *= Slope(c.activation, x[at]);
        Check(c, "dx", at, dx[at], sum);
      }
    }
  }

  // Of examples that are shared, the second part is added to the first.
  if (end == 0) return;
  Floats dvalues(s.count(), kUnwritten);
  Floats dbias(has_bias ? c.outputs : 0, kUnwritten);
  bool adds = false;
  ForParts(end, c.outputs, by_rows, [&](Range range) {
    if (range.begin == range.end) return;
    const std::vector<float> values_before = Copy(dvalues);
    const std::vector<float> bias_before = Copy(dbias);
    kernels.weight_gradient(s, x.data(), dy.data(), dvalues.data(),
                            has_bias ? dbias.data() : nullptr, stride, range,
                            adds);
    adds = !by_rows;
    if (!as_kernel) {
      CheckUntouched(c, s.output_begins[range.first],
                     s.output_begins[range.last], values_before, dvalues);
    }
    if (has_bias) {
      CheckUntouched(c, range.first, range.last, bias_before, dbias);
    }
  });
  for (int64_t j = 0; j < c.outputs; ++j) {
    double bias_sum = 0;
    for (int64_t b = 0; b < c.examples; ++b) bias_sum += dy[j * stride + b];
    if (has_bias) Check(c, "dbias", j, dbias[j], bias_sum);
    const auto check = [&](int64_t k, int64_t i) {
      double sum = 0;
      for (int64_t b = 0; b < c.examples; ++b) {
        sum += static_cast<double>(x[i * stride + b]) * dy[j * stride + b];
      }
      Check(c, "dvalues", k, dvalues[k], sum);
    };
    if (as_kernel) {
      for (int64_t i = 0; i < c.inputs; ++i) check(i * c.outputs + j, i);
      continue;
    }
    for (int64_t k = s.output_begins[j]; k < s.output_begins[j + 1]; ++k) {
      check(k, s.sources[k]);
    }
  }
}

// Whether it is seen that the begins, of outputs or of inputs, are not sound.
void TestSoundness() {
  const Case c = {"any", 3, 2, 1, 1, 1.0, Activation::kLinear};
  const int32_t wrong[][2] = {{0, 1}, {1, 7}, {1, -1}, {2, 9}, {2, 5},
                              {3, 2}, {4, 7}, {5, -1}, {6, 9}, {6, 5}};
  for (const auto& change : wrong) {
    Layer layer(c);
    (*layer.data)[change[0]] = change[1];
    Check(c, "IsSound", change[0], layer.structure.IsSound(), false);
  }
}

// Variables after updates of all sorts; the same ones for a size.
std::vector<float> Update(const Kernels& kernels, int64_t size) {
  std::mt19937 before = generator;
  generator.seed(size);
  Floats gradient = Draw(size), online = Draw(size), mask(size, 1.0f);
  Floats variable = Draw(size), m = Draw(size), v = Draw(size), noise(size, 0);
  Buffer<int32_t> scratch(size + kScratchMargin, 0);
  for (int64_t i = 0; i < size; ++i) {
    v[i] *= v[i];
    if (generator() % 3 == 0) online[i] = mask[i] = 0.0f;
    // Magnitudes that are equal.
    if (generator() % 5 == 0) variable[i] = 0.5f;
  }
  generator = before;
  for (const float decay : {0.0f, 0.1f}) {
    const AdamStep step = MakeAdamStep(0.01f, 0.9f, 0.999f, 1e-8f, 7);
    for (const Masked masked :
         {Masked::kNothing, Masked::kGradient, Masked::kVariable}) {
      kernels.take_adam_step(step, decay, masked, gradient.data(), mask.data(),
                             variable.data(), m.data(), v.data(), size);
      kernels.soft_update(online.data(), variable.data(), size, 0.3f);
    }
  }
  kernels.maintain_sparsity(online.data(), variable.data(), mask.data(), size,
                            scratch.data());
  kernels.draw_normal(-3, size, size, noise.data());
  std::vector<float> all;
  for (Floats* part : {&variable, &m, &v, &mask, &noise}) {
    all.insert(all.end(), part->data(), part->data() + size);
  }
  return all;
}

void TestUpdates() {
  for (const int64_t size : {0, 1, 15, 16, 17, 255, 257, 5000}) {
    const std::vector<float> expected = Update(portable::kKernels, size);
    for (const Kernels* kernels : AllKernels()) {
      const std::vector<float> found = Update(*kernels, size);
      for (size_t i = 0; i < found.size(); ++i) {
        if (std::memcmp(&found[i], &expected[i], sizeof(float)) == 0) continue;
        std::fprintf(stderr, "%s, %ld: updates[%zu] is %g, not %g\n",
                     kernels->name, static_cast<long>(size), i, found[i],
                     expected[i]);
        std::exit(1);
      }
    }
  }
}

void TestAll() {
  const int64_t shapes[][2] = {{1, 1},  {1, 20}, {20, 1},
                               {7, 15}, {33, 17}, {50, 40},
                               {5, 70}};
  // All numbers of vectors that a row is divided into.
  const int64_t examples[] = {0, 1, 15, 16, 17, 40, 100, 128, 250};
  TestSoundness();
  TestUpdates();
  for (const Kernels* kernels : AllKernels()) TestConvolutions(*kernels);
  for (const auto& shape : shapes) {
    for (const int64_t batch : examples) {
      for (const double density : {0.0, 0.1, 0.6, 1.0}) {
        const int number = generator() % 3;
        Case c = {"any",       shape[0], shape[1],
                  batch,       number,   density,
                  static_cast<Activation>(generator() % 3)};
        TestStructure(c);
        for (const Kernels* kernels : AllKernels()) {
          c.kind = kernels->name;
          TestColumns(c, *kernels);
          for (const bool by_rows : {true, false}) {
            for (const bool as_kernel : {true, false}) {
              TestArithmetic(c, *kernels, by_rows, generator() % 2, as_kernel);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace rigl_rl

int main(int argc, char**) {
  if (argc > 1) {
    std::puts(rigl_rl::BestKernels().name);
    return 0;
  }
  rigl_rl::TestAll();
  for (const auto* kernels : rigl_rl::AllKernels()) std::puts(kernels->name);
}
