#define RIGL_RL_ISA portable
#define RIGL_RL_NAME "portable"
#include "sparse_layers_impl.h"
