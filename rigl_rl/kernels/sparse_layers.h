#ifndef RIGL_RL_KERNELS_SPARSE_LAYERS_H_
#define RIGL_RL_KERNELS_SPARSE_LAYERS_H_

#include <cstdint>

namespace rigl_rl {

enum class Activation { kLinear = 0, kRelu = 1, kTanh = 2 };

// Floats of a vector, and the least number of examples that are worked on.
constexpr int64_t kLanes = 16;

// Where the active weights of a layer lie. A weight is known by its position
// among the values, which are sorted by output, then by input.
struct SparseStructure {
  int64_t inputs;
  int64_t outputs;
  int64_t capacity;  // Values there is room for; those in use come first.
  // The weights of output j have the positions output_begins[j], ...,
  // output_begins[j + 1] - 1, and come from `sources`.
  const int32_t* output_begins;
  const int32_t* sources;
  // Those of input i are entries input_begins[i], ... of `targets`, the outputs
  // that they lead to, and of `positions`.
  const int32_t* input_begins;
  const int32_t* targets;
  const int32_t* positions;

  // Integers that hold all of the above.
  static int64_t Size(int64_t inputs, int64_t outputs, int64_t capacity) {
    return (outputs + 1) + (inputs + 1) + 3 * capacity;
  }
  // How they lie in `data`, one after the other.
  static SparseStructure At(const int32_t* data, int64_t inputs,
                            int64_t outputs, int64_t capacity);
  int64_t count() const { return output_begins[outputs]; }
  // Whether all weights are active: then they lie as in a (outputs, inputs) array.
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
void ScatterValues(const SparseStructure& structure, const float* values,
                   float* kernel);

// Examples [begin, end), both multiples of kLanes, of rows [first, last).
struct Range {
  int64_t begin;
  int64_t end;
  int64_t first;
  int64_t last;
};

// Activations are held as features x examples: row i of `x` is x + i * stride.

// The arithmetic, for one kind of processor.
struct SparseKernels {
  const char* name;
  // y = activation(W^T x + bias), rows being outputs. `bias` may be null.
  void (*forward)(const SparseStructure& structure, const float* values,
                  const float* bias, Activation activation, const float* x,
                  float* y, int64_t stride, Range range);
  // dx = (W dy) * activation'(x), rows being inputs; `x` is the activation of
  // the layer before, or null where there is none.
  void (*input_gradient)(const SparseStructure& structure, const float* values,
                         Activation activation, const float* x,
                         const float* dy, float* dx, int64_t stride,
                         Range range);
  // Gradients of values and bias, summed over the range's examples; rows are
  // outputs. `dbias` may be null.
  void (*weight_gradient)(const SparseStructure& structure, const float* x,
                          const float* dy, float* dvalues, float* dbias,
                          int64_t stride, Range range);
  // dy *= activation'(y), on rows of `y`.
  void (*activation_gradient)(Activation activation, const float* y, float* dy,
                              int64_t stride, Range range);
  // Between (examples, features) and features x examples. Up to a multiple of
  // kLanes, the columns of examples that there are none of become 0.
  void (*to_columns)(const float* x, int64_t examples, int64_t features,
                     int64_t stride, float* columns);
  void (*from_columns)(const float* columns, int64_t examples, int64_t features,
                       int64_t stride, float* y);
};

// The fastest for this processor; RIGL_RL_SIMD=avx2 or portable in the
// environment asks for another one, for tests.
const SparseKernels& BestKernels();

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_SPARSE_LAYERS_H_
