// Convolutions by their active weights only.
//
// Images of kLanes examples are held side by side, so that a weight, at
// neighboring positions, is multiplied with contiguous vectors of examples.

#ifndef RIGL_RL_KERNELS_SPARSE_CONVOLUTION_H_
#define RIGL_RL_KERNELS_SPARSE_CONVOLUTION_H_

#include <cstdint>
#include <vector>

#include "sparse_layers.h"

namespace rigl_rl {

// One dimension of a convolution. Output o's window is [o * stride, o * stride +
// window) of the padded input, which has `before` zeros first.
struct Axis {
  int64_t size;
  int64_t window;
  int64_t stride;
  int64_t outputs;
  int64_t before;

  static Axis Of(int64_t size, int64_t window, int64_t stride, bool pads);
  // The most strides between two outputs with a common input.
  int64_t reach() const { return (window - 1) / stride; }
};

// The layout of an image: rows x channels x phases x columns x examples. Column
// c of the padded image is column c / phases of phase c % phases: so the columns
// that a weight meets at neighboring outputs are contiguous.
struct Image {
  int64_t rows;
  int64_t channels;
  int64_t phases;
  int64_t columns;

  int64_t row_size() const { return channels * channel_size(); }
  int64_t channel_size() const { return phases * columns * kLanes; }
  int64_t size() const { return rows * row_size(); }
  int64_t column(int64_t c) const {
    return (c % phases * columns + c / phases) * kLanes;
  }
};

struct Convolution {
  Axis rows;
  Axis columns;
  int64_t channels;
  int64_t filters;

  int64_t inputs() const { return rows.window * columns.window * channels; }
  // The padded input.
  Image image() const;
  // The gradient of the outputs, with zeros on all sides. Output (i, j) is in
  // row i + rows.reach() and column j + columns.reach().
  Image delta() const;
};

// A weight, and how far from an output's first input its own input is.
struct Tap {
  int32_t offset;
  float weight;
};

// Taps by group: those of group g are taps[begins[g]], ...
struct Taps {
  const int32_t* begins;
  const Tap* taps;
};

struct TapVectors {
  std::vector<int32_t> begins;
  std::vector<Tap> taps;

  Taps from(int64_t group) const { return {&begins[group], taps.data()}; }
};

// y = activation(x * taps + bias) at neighboring positions, from the first on,
// of groups side by side. `step` is from position to position in y; `bias` may
// be null.
using CorrelateFunction = void(const Taps& taps, int64_t groups,
                               const float* bias, Activation activation,
                               const float* x, int64_t positions, float* y,
                               int64_t step);
// Adds to a vector per tap, and per group, what neighboring positions add to the
// gradients of weight and bias; their lanes are still to be summed. `delta_size`
// is from group to group in `delta`.
using CorrelateGradientFunction = void(const Taps& taps, int64_t groups,
                                       const float* x, const float* delta,
                                       int64_t delta_size, int64_t positions,
                                       float* sums, float* bias_sums);
// Sums of vectors over their lanes and over blocks, which have `size` vectors.
using SumLanesFunction = void(const float* sums, int64_t size, int64_t blocks,
                              float* totals);
// From (examples, features), with `pitch` from example to example, to one vector
// of examples per feature, at places[feature]: x * activation'(...), computed
// from the activation y. Padding examples are zeroed.
using SpreadFunction = void(Activation activation, const float* x,
                            const float* y, int64_t pitch, int64_t examples,
                            int64_t features, const int32_t* places,
                            float* vectors);
// The way back, from vectors that follow each other.
using CollectFunction = void(const float* vectors, int64_t examples,
                             int64_t features, float* y, int64_t pitch);

// Of each filter in the image; in the order of the values.
TapVectors ForwardTaps(const Convolution& convolution,
                       const SparseStructure& structure, const float* values);
// Of each input channel in the delta, for each phase of rows and columns: group
// (row_phase * columns.stride + column_phase) * channels + channel. Offsets are
// from the delta's row and column of the same number of strides.
TapVectors InputTaps(const Convolution& convolution,
                     const SparseStructure& structure, const float* values);

}  // namespace rigl_rl

#endif  // RIGL_RL_KERNELS_SPARSE_CONVOLUTION_H_
