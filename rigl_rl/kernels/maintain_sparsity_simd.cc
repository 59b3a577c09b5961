#include "maintain_sparsity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace rigl_rl {
namespace RIGL_RL_ISA {
namespace {

// Sampled weights, to estimate how large the k-th is.
constexpr int64_t kSampleSize = 2048;
// Values that are counted in 32 bits, which vectorizes better than 64.
constexpr int64_t kBlock = int64_t{1} << 24;
// Keys computed at a time, before those in a range are gathered.
constexpr int64_t kGatherBlock = 256;
constexpr int32_t kHighest = std::numeric_limits<int32_t>::max();

// An integer that grows with the magnitude of `weight`. The comparison is one
// of floats: where the processor takes denormals for zeros, they tie with 0.
inline int32_t Key(float weight) {
  int32_t bits;
  std::memcpy(&bits, &weight, sizeof(bits));
  return weight != 0.0f ? bits & 0x7FFFFFFF : 0;
}

// Counts the values that fulfil a condition.
template <typename T, typename Condition>
int64_t CountIf(const T* values, int64_t size, Condition condition) {
  int64_t total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(size, begin + kBlock);
    int32_t count = 0;
    for (int64_t i = begin; i < end; ++i) count += condition(values[i]) ? 1 : 0;
    total += count;
  }
  return total;
}

int64_t CountNonzero(const float* values, int64_t size) {
  return CountIf(values, size, [](float value) { return value != 0.0f; });
}

// The rank-th highest of keys in [low, high], 1 <= rank <= size, by bisection:
// counting is vectorized, and 31 counts of a few thousand keys take less time
// than one partition.
int32_t Select(const int32_t* keys, int64_t size, int64_t rank, int32_t low,
               int32_t high) {
  while (low < high) {
    // Rounded up, so that `low = middle` makes progress.
    const int32_t middle = high - (high - low) / 2;
    const int64_t at_least =
        CountIf(keys, size, [middle](int32_t key) { return key >= middle; });
    if (at_least >= rank) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Gathers the keys in [low, high] and sets `*gathered` to their number. Returns
// how many keys are higher.
int64_t Gather(const float* weights, int64_t size, int32_t low, int32_t high,
               int32_t* keys, int64_t* gathered) {
  int64_t higher = 0;
  int64_t count = 0;
  int64_t i = 0;
#ifdef __AVX512F__
  const __m512i lows = _mm512_set1_epi32(low);
  const __m512i highs = _mm512_set1_epi32(high);
  const __m512i magnitude_bits = _mm512_set1_epi32(0x7FFFFFFF);
  for (; i + 16 <= size; i += 16) {
    const __m512 weight = _mm512_loadu_ps(weights + i);
    const __mmask16 nonzero =
        _mm512_cmp_ps_mask(weight, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i key = _mm512_maskz_and_epi32(
        nonzero, _mm512_castps_si512(weight), magnitude_bits);
    const __mmask16 is_higher = _mm512_cmpgt_epi32_mask(key, highs);
    const __mmask16 in_range = static_cast<__mmask16>(
        _mm512_cmpge_epi32_mask(key, lows) & ~is_higher);
    // Writes 16 keys; later writes overwrite the surplus.
    _mm512_storeu_si512(keys + count,
                        _mm512_maskz_compress_epi32(in_range, key));
    count += __builtin_popcount(in_range);
    higher += __builtin_popcount(is_higher);
  }
#endif
  int32_t block[kGatherBlock];
  for (; i < size; i += kGatherBlock) {
    const int64_t length = std::min(kGatherBlock, size - i);
    for (int64_t j = 0; j < length; ++j) block[j] = Key(weights[i + j]);
    for (int64_t j = 0; j < length; ++j) {
      // Without a branch, which would often be mispredicted.
      const int32_t key = block[j];
      keys[count] = key;
      count += (key >= low) & (key <= high);
      higher += key > high;
    }
  }
  *gathered = count;
  return higher;
}

// Finds a range that most likely holds the k-th highest of the `nonzero` keys
// that are not zero.
void Bracket(const float* weights, int64_t size, int64_t k, int64_t nonzero,
             int32_t* scratch, int32_t* low, int32_t* high) {
  *low = 1;
  *high = kHighest;
  if (size <= kSampleSize) return;
  // Odd, so that a sample is not one of a few columns.
  const int64_t stride = (size / kSampleSize) | 1;
  int64_t sampled = 0;
  for (int64_t i = 0; i < size; i += stride) {
    const int32_t key = Key(weights[i]);
    scratch[sampled] = key;
    sampled += key != 0;
  }
  // The number of samples above the k-th is binomial: its mean, and four
  // standard deviations to either side.
  const double share = static_cast<double>(k) / nonzero;
  const double mean = share * sampled;
  const double margin = 4 * std::sqrt(mean * (1 - share)) + 2;
  const int64_t first = static_cast<int64_t>(std::floor(mean - margin));
  const int64_t last = static_cast<int64_t>(std::ceil(mean + margin));
  if (first >= 1) *high = Select(scratch, sampled, first, 1, kHighest);
  if (last <= sampled) *low = Select(scratch, sampled, last, 1, *high);
}

// Keeps all keys above `key`, and the first `ties` keys that equal it.
struct Threshold {
  int32_t key;
  int64_t ties;
};

// The threshold that keeps `ties` of the `equal` keys that equal `key`.
Threshold Keep(int32_t key, int64_t ties, int64_t equal) {
  // Nearly always all of them are kept; then no tie must be searched for.
  if (ties == equal) return {key - 1, 0};
  return {key, ties};
}

Threshold FindThreshold(const float* weights, int64_t size, int64_t k,
                        int32_t* scratch) {
  if (k == 0) return {kHighest, 0};
  const int64_t nonzero = CountNonzero(weights, size);
  if (k >= nonzero) return Keep(0, k - nonzero, size - nonzero);
  int32_t low, high;
  Bracket(weights, size, k, nonzero, scratch, &low, &high);
  int64_t gathered;
  int64_t higher = Gather(weights, size, low, high, scratch, &gathered);
  if (higher >= k || higher + gathered < k) {
    // The sample did not represent the rest.
    low = 1;
    high = kHighest;
    higher = Gather(weights, size, low, high, scratch, &gathered);
  }
  const int32_t key = Select(scratch, gathered, k - higher, low, high);
  higher += CountIf(scratch, gathered,
                    [key](int32_t other) { return other > key; });
  const int64_t equal = CountIf(
      scratch, gathered, [key](int32_t other) { return other == key; });
  return Keep(key, k - higher, equal);
}

// Keeps, in [begin, end), the weights whose keys are above `key`.
void KeepAbove(int32_t key, int64_t begin, int64_t end,
               float* __restrict__ weights, float* __restrict__ mask) {
  for (int64_t i = begin; i < end; ++i) {
    const float kept = Key(weights[i]) > key ? 1.0f : 0.0f;
    mask[i] = kept;
    // Multiplied, for the same negative zeros as TensorFlow's.
    weights[i] *= kept;
  }
}

}  // namespace

void MaintainSparsity(const float* online, float* target, float* mask,
                      int64_t size, int32_t* scratch) {
  const int64_t k = CountNonzero(online, size);
  const Threshold threshold = FindThreshold(target, size, k, scratch);
  // Before this index, keys that equal the threshold's are kept, too.
  int64_t end_of_ties = 0;
  for (int64_t ties = threshold.ties; ties > 0; ++end_of_ties) {
    ties -= Key(target[end_of_ties]) == threshold.key;
  }
  KeepAbove(threshold.key - 1, 0, end_of_ties, target, mask);
  KeepAbove(threshold.key, end_of_ties, size, target, mask);
}

}  // namespace RIGL_RL_ISA
}  // namespace rigl_rl
