#if defined(__x86_64__)
#define RIGL_RL_ISA avx2
#define RIGL_RL_NAME "avx2"
#include "sparse_layers_impl.h"
#endif
