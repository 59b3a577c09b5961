#include "sparse_convolution.h"

#include <algorithm>

namespace rigl_rl {

Axis Axis::Of(int64_t size, int64_t window, int64_t stride, bool pads) {
  Axis axis{size, window, stride, 0, 0};
  if (pads) {
    axis.outputs = (size + stride - 1) / stride;
    axis.before =
        std::max<int64_t>((axis.outputs - 1) * stride + window - size, 0) / 2;
  } else {
    axis.outputs = std::max<int64_t>((size - window) / stride + 1, 0);
  }
  return axis;
}

Image Convolution::image() const {
  return {(rows.outputs - 1) * rows.stride + rows.window, channels,
          columns.stride, columns.outputs + columns.reach()};
}

Image Convolution::delta() const {
  const auto length = [](const Axis& axis) {
    return (axis.size - 1 + axis.before) / axis.stride + 1 + axis.reach();
  };
  return {length(rows), filters, 1, length(columns)};
}

TapVectors ForwardTaps(const Convolution& convolution,
                       const SparseStructure& structure, const float* values) {
  const Image image = convolution.image();
  std::vector<int32_t> offsets;
  offsets.reserve(convolution.inputs());
  for (int64_t row = 0; row < convolution.rows.window; ++row) {
    for (int64_t column = 0; column < convolution.columns.window; ++column) {
      for (int64_t channel = 0; channel < convolution.channels; ++channel) {
        offsets.push_back(row * image.row_size() +
                          channel * image.channel_size() +
                          image.column(column));
      }
    }
  }
  TapVectors taps;
  taps.begins.assign(structure.output_begins,
                     structure.output_begins + convolution.filters + 1);
  taps.taps.reserve(structure.count());
  for (int64_t k = 0; k < structure.count(); ++k) {
    taps.taps.push_back({offsets[structure.sources[k]], values[k]});
  }
  return taps;
}

TapVectors InputTaps(const Convolution& convolution,
                     const SparseStructure& structure, const float* values) {
  const Axis &rows = convolution.rows, &columns = convolution.columns;
  const Image delta = convolution.delta();
  TapVectors taps;
  taps.begins.push_back(0);
  taps.taps.reserve(structure.count());
  // Adds the weights of input channel `channel` at one place of the window.
  const auto add = [&](int64_t row, int64_t column, int64_t channel) {
    const int64_t input =
        (row * columns.window + column) * convolution.channels + channel;
    const int64_t back = row / rows.stride * delta.row_size() +
                         column / columns.stride * kLanes;
    for (int64_t k = structure.input_begins[input];
         k < structure.input_begins[input + 1]; ++k) {
      const int64_t offset = structure.targets[k] * delta.channel_size() - back;
      taps.taps.push_back({static_cast<int32_t>(offset),
                           values[structure.positions[k]]});
    }
  };
  for (int64_t first_row = 0; first_row < rows.stride; ++first_row) {
    for (int64_t first = 0; first < columns.stride; ++first) {
      for (int64_t channel = 0; channel < convolution.channels; ++channel) {
        for (int64_t row = first_row; row < rows.window; row += rows.stride) {
          for (int64_t column = first; column < columns.window;
               column += columns.stride) {
            add(row, column, channel);
          }
        }
        taps.begins.push_back(taps.taps.size());
      }
    }
  }
  return taps;
}

}  // namespace rigl_rl
