#if defined(__x86_64__)
#define RIGL_RL_ISA avx512
#define RIGL_RL_NAME "avx512"
#include "sparse_layers_impl.h"
#endif
