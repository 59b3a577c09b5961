// The passes of convolutions; see kernels_test.cc, which calls this.

#include "convolutions_test.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "convolution_passes.h"

namespace rigl_rl {
namespace {

std::mt19937 generator(1);

// On the heap, and not an element longer than asked for.
struct Floats {
  explicit Floats(int64_t size) : size(size), data(new float[size]) {
    for (int64_t i = 0; i < size; ++i) data[i] = NAN;
  }
  static Floats Drawn(int64_t size) {
    std::normal_distribution<float> normal;
    Floats floats(size);
    for (int64_t i = 0; i < size; ++i) floats.data[i] = normal(generator);
    return floats;
  }
  float& operator[](int64_t i) { return data[i]; }
  float* get() { return data.get(); }

  int64_t size;
  std::unique_ptr<float[]> data;
};

void Check(const Kernels& kernels, const char* what, int64_t at, double found,
           double expected) {
  if (std::abs(found - expected) <= 1e-4 * (1 + std::abs(expected))) return;
  std::fprintf(stderr, "%s: convolution: %s[%ld] is %g, not %g\n",
               kernels.name, what, static_cast<long>(at), found, expected);
  std::exit(1);
}

struct Results {
  std::vector<double> y, dx, dkernel, dbias;
};

// Calls `visit(example, x place, kernel input, y place)` for all that is summed,
// the places without features.
template <typename Visit>
void ForAll(const Convolution& c, int64_t examples, const Visit& visit) {
  const Axis &rows = c.rows, &columns = c.columns;
  for (int64_t n = 0; n < examples; ++n) {
    for (int64_t i = 0; i < rows.outputs; ++i) {
      for (int64_t j = 0; j < columns.outputs; ++j) {
        for (int64_t a = 0; a < rows.window; ++a) {
          for (int64_t b = 0; b < columns.window; ++b) {
            const int64_t row = i * rows.stride + a - rows.before;
            const int64_t column = j * columns.stride + b - columns.before;
            if (row < 0 || row >= rows.size) continue;
            if (column < 0 || column >= columns.size) continue;
            visit((n * rows.size + row) * columns.size + column,
                  a * columns.window + b,
                  (n * rows.outputs + i) * columns.outputs + j);
          }
        }
      }
    }
  }
}

// With plain loops; of a ReLU.
Results Expected(const Convolution& c, int64_t examples, Floats& x,
                 Floats& kernel, Floats& bias, Floats& dy) {
  const int64_t channels = c.channels, filters = c.filters;
  Results r;
  r.y.resize(dy.size);
  r.dx.resize(x.size);
  r.dkernel.resize(kernel.size);
  r.dbias.resize(filters);
  for (int64_t k = 0; k < dy.size; ++k) r.y[k] = bias[k % filters];
  const auto at = [&](int64_t window, int64_t channel, int64_t filter) {
    return (window * channels + channel) * filters + filter;
  };
  ForAll(c, examples, [&](int64_t from, int64_t window, int64_t to) {
    for (int64_t u = 0; u < channels; ++u) {
      for (int64_t f = 0; f < filters; ++f) {
        r.y[to * filters + f] += static_cast<double>(x[from * channels + u]) *
                                 kernel[at(window, u, f)];
      }
    }
  });
  std::vector<double> delta(dy.size);
  for (int64_t k = 0; k < dy.size; ++k) {
    delta[k] = r.y[k] > 0 ? dy[k] : 0;
    r.y[k] = r.y[k] > 0 ? r.y[k] : 0;
    r.dbias[k % filters] += delta[k];
  }
  ForAll(c, examples, [&](int64_t from, int64_t window, int64_t to) {
    for (int64_t u = 0; u < channels; ++u) {
      for (int64_t f = 0; f < filters; ++f) {
        const double d = delta[to * filters + f];
        r.dx[from * channels + u] += d * kernel[at(window, u, f)];
        r.dkernel[at(window, u, f)] += d * x[from * channels + u];
      }
    }
  });
  return r;
}

void Test(const Kernels& kernels, const Convolution& c, int64_t examples,
          double density) {
  const int64_t inputs = c.inputs(), filters = c.filters;
  const int64_t rows = c.rows.outputs, columns = c.columns.outputs;
  Floats x = Floats::Drawn(examples * c.rows.size * c.columns.size * c.channels);
  Floats dy = Floats::Drawn(examples * rows * columns * filters);
  Floats kernel = Floats::Drawn(inputs * filters);
  Floats bias = Floats::Drawn(filters);
  std::bernoulli_distribution is_active(density);
  for (int64_t i = 0; i < kernel.size; ++i) {
    if (!is_active(generator)) kernel[i] = 0;
  }
  const int64_t count = CountActive(kernel.get(), kernel.size);
  std::vector<int32_t> data(SparseStructure::Size(inputs, filters, count));
  WriteStructure(kernel.get(), inputs, filters, count, data.data());
  const SparseStructure structure =
      SparseStructure::At(data.data(), inputs, filters, count);
  Floats values(count);
  GatherValues(structure, kernel.get(), values.get());
  Results expected = Expected(c, examples, x, kernel, bias, dy);

  const TapVectors taps = ForwardTaps(c, structure, values.get());
  Floats image(c.image().size()), y(dy.size);
  Floats strip(columns * filters * kLanes);
  Convolve(kernels, c, taps.from(0), bias.get(), Activation::kRelu, x.get(),
           examples, image.get(), strip.get(), y.get());
  for (int64_t i = 0; i < y.size; ++i) {
    Check(kernels, "y", i, y[i], expected.y[i]);
  }

  Floats delta(c.delta().size()), dx(x.size);
  Floats input_strip(c.columns.size * c.channels * kLanes);
  WriteDelta(kernels, c, Activation::kRelu, dy.get(), y.get(), examples,
             delta.get());
  PassBack(kernels, c, InputTaps(c, structure, values.get()), delta.get(),
           examples, input_strip.get(), dx.get());
  for (int64_t i = 0; i < dx.size; ++i) {
    Check(kernels, "dx", i, dx[i], expected.dx[i]);
  }

  Floats sums((count + filters) * kLanes), totals(count + filters);
  for (int64_t i = 0; i < sums.size; ++i) sums[i] = 0;
  AddGradients(kernels, c, taps.from(0), image.get(), delta.get(), sums.get(),
               sums.get() + count * kLanes);
  kernels.sum_lanes(sums.get(), totals.size, 1, totals.get());
  for (int64_t f = 0; f < filters; ++f) {
    Check(kernels, "dbias", f, totals[count + f], expected.dbias[f]);
    for (int64_t k = structure.output_begins[f];
         k < structure.output_begins[f + 1]; ++k) {
      Check(kernels, "dkernel", k, totals[k],
            expected.dkernel[structure.sources[k] * filters + f]);
    }
  }
}

}  // namespace

void TestConvolutions(const Kernels& kernels) {
  // Height, width, channels, window, filters, strides.
  const int64_t shapes[][8] = {
      {1, 1, 1, 1, 1, 1, 1, 1}, {6, 9, 3, 3, 2, 5, 2, 3},
      {5, 16, 17, 3, 3, 18, 1, 1}, {9, 10, 2, 1, 1, 3, 2, 2},
      {4, 31, 2, 4, 4, 2, 3, 1}};
  for (const auto& s : shapes) {
    for (const bool pads : {false, true}) {
      Convolution c{Axis::Of(s[0], s[3], s[6], pads),
                    Axis::Of(s[1], s[4], s[7], pads), s[2], s[5]};
      for (const int64_t examples : {1, 5, 16}) {
        for (const double density : {0.0, 0.3, 1.0}) {
          Test(kernels, c, examples, density);
        }
      }
    }
  }
}

}  // namespace rigl_rl
