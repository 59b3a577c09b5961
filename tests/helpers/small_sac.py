"""Small SAC agents."""

import gin

from helpers import small
from rigl_rl.agents import sac
from rigl_rl.sparsity import algorithms


def make_agent(algorithm='RigL', seed=0, gradient_steps=10, **arguments):
  gin.bind_parameter('sparsify.algorithm', getattr(algorithms, algorithm)())
  return sac.SparseSacAgent(
    *small.specs(), seed=seed, gradient_steps=gradient_steps, **arguments
  )
