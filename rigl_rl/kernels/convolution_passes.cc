#include "convolution_passes.h"

#include <algorithm>
#include <vector>

namespace rigl_rl {
namespace {

// Writes rows of examples into an image, and zeros around them.
class Spreader {
 public:
  // Of the image's columns, `before` are left of the examples' `columns`. Those
  // that do not fit are left out.
  Spreader(const Kernels& kernels, const Image& image, int64_t before,
           int64_t columns)
      : kernels_(kernels), image_(image) {
    const int64_t width = image.phases * image.columns;
    const int64_t end = std::min(columns + before, width);
    for (int64_t c = 0; c < width; ++c) {
      if (c < before || c >= end) blank_.push_back(image.column(c));
    }
    for (int64_t c = before; c < end; ++c) {
      for (int64_t channel = 0; channel < image.channels; ++channel) {
        places_.push_back(channel * image.channel_size() + image.column(c));
      }
    }
  }

  void WriteZeros(float* row) const {
    std::fill_n(row, image_.row_size(), 0.0f);
  }

  // Writes x * activation'(...); see SpreadFunction.
  void Write(Activation activation, const float* x, const float* y,
             int64_t pitch, int64_t examples, float* row) const {
    for (int64_t channel = 0; channel < image_.channels; ++channel) {
      float* const columns = row + channel * image_.channel_size();
      for (const int32_t blank : blank_) {
        std::fill_n(columns + blank, kLanes, 0.0f);
      }
    }
    kernels_.spread(activation, x, y, pitch, examples, places_.size(),
                    places_.data(), row);
  }

 private:
  const Kernels& kernels_;
  const Image image_;
  std::vector<int32_t> blank_;
  std::vector<int32_t> places_;
};

}  // namespace

void Convolve(const Kernels& kernels, const Convolution& convolution,
              const Taps& taps, const float* bias, Activation activation,
              const float* x, int64_t examples, float* image, float* strip,
              float* y) {
  const Axis &rows = convolution.rows, &columns = convolution.columns;
  const int64_t row_size = convolution.image().row_size();
  const int64_t width = columns.size * convolution.channels;
  const int64_t features = columns.outputs * convolution.filters;
  const Spreader spreader(kernels, convolution.image(), columns.before,
                          columns.size);
  int64_t written = 0;
  for (int64_t i = 0; i < rows.outputs; ++i) {
    // Rows are written just before they are read.
    for (; written < i * rows.stride + rows.window; ++written) {
      const int64_t row = written - rows.before;
      float* const to = image + written * row_size;
      if (row < 0 || row >= rows.size) {
        spreader.WriteZeros(to);
      } else {
        const float* from = x + row * width;
        spreader.Write(Activation::kLinear, from, from, rows.size * width,
                       examples, to);
      }
    }
    kernels.correlate(taps, convolution.filters, bias, activation,
                      image + i * rows.stride * row_size, columns.outputs,
                      strip, convolution.filters * kLanes);
    kernels.collect(strip, examples, features, y + i * features,
                    rows.outputs * features);
  }
}

void WriteDelta(const Kernels& kernels, const Convolution& convolution,
                Activation activation, const float* dy, const float* y,
                int64_t examples, float* delta) {
  const Axis &rows = convolution.rows, &columns = convolution.columns;
  const Image image = convolution.delta();
  const int64_t width = columns.outputs * convolution.filters;
  const Spreader spreader(kernels, image, columns.reach(), columns.outputs);
  for (int64_t r = 0; r < image.rows; ++r) {
    const int64_t row = r - rows.reach();
    float* const to = delta + r * image.row_size();
    if (row < 0 || row >= rows.outputs) {
      spreader.WriteZeros(to);
    } else {
      spreader.Write(activation, dy + row * width, y + row * width,
                     rows.outputs * width, examples, to);
    }
  }
}

void PassBack(const Kernels& kernels, const Convolution& convolution,
              const TapVectors& taps, const float* delta, int64_t examples,
              float* strip, float* dx) {
  const Axis &rows = convolution.rows, &columns = convolution.columns;
  const int64_t channels = convolution.channels;
  const int64_t features = columns.size * channels;
  for (int64_t row = 0; row < rows.size; ++row) {
    const int64_t padded = row + rows.before;
    const float* from = delta + (padded / rows.stride + rows.reach()) *
                                    convolution.delta().row_size();
    // Columns of one phase neighbor each other in the delta.
    const int64_t phases = std::min(columns.stride, columns.size);
    for (int64_t column = 0; column < phases; ++column) {
      const int64_t first = column + columns.before;
      const int64_t phase =
          padded % rows.stride * columns.stride + first % columns.stride;
      kernels.correlate(
          taps.from(phase * channels), channels, nullptr, Activation::kLinear,
          from + (first / columns.stride + columns.reach()) * kLanes,
          (columns.size - 1 - column) / columns.stride + 1,
          strip + column * channels * kLanes,
          columns.stride * channels * kLanes);
    }
    kernels.collect(strip, examples, features, dx + row * features,
                    rows.size * features);
  }
}

void AddGradients(const Kernels& kernels, const Convolution& convolution,
                  const Taps& taps, const float* image, const float* delta,
                  float* sums, float* bias_sums) {
  const Axis &rows = convolution.rows, &columns = convolution.columns;
  const Image deltas = convolution.delta();
  delta += rows.reach() * deltas.row_size() + columns.reach() * kLanes;
  for (int64_t i = 0; i < rows.outputs; ++i) {
    kernels.correlate_gradient(
        taps, convolution.filters,
        image + i * rows.stride * convolution.image().row_size(),
        delta + i * deltas.row_size(), deltas.channel_size(), columns.outputs,
        sums, bias_sums);
  }
}

}  // namespace rigl_rl
