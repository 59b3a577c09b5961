#ifndef RIGL_RL_TESTS_CONVOLUTIONS_TEST_H_
#define RIGL_RL_TESTS_CONVOLUTIONS_TEST_H_

#include "kernels.h"

namespace rigl_rl {

void TestConvolutions(const Kernels& kernels);

}  // namespace rigl_rl

#endif  // RIGL_RL_TESTS_CONVOLUTIONS_TEST_H_
