#include "kernels.h"

#include <cstdlib>
#include <string>

namespace rigl_rl {

std::vector<const Kernels*> AllKernels() {
  std::vector<const Kernels*> all = {&portable::kKernels};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all.push_back(&avx2::kKernels);
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      all.push_back(&avx512::kKernels);
    }
  }
#endif
  return all;
}

namespace {

const Kernels& Choose() {
  const char* wish = std::getenv("RIGL_RL_SIMD");
  const std::vector<const Kernels*> all = AllKernels();
  for (const Kernels* kernels : all) {
    if (wish != nullptr && wish == std::string(kernels->name)) return *kernels;
  }
  return *all.back();
}

}  // namespace

const Kernels& BestKernels() {
  static const Kernels& kernels = Choose();
  return kernels;
}

}  // namespace rigl_rl
