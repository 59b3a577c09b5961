"""Speed of one layer: its output and all gradients, in steps/s.

Ours is a dense layer in both storages, called as a train step is; a contender
sparse_90 has 90 % sparsity. Peers are PyTorch's dense layer and SparseProp's,
by autograd: they need --peers_python. By --inter_op_threads=1
--intra_op_threads=2 all use two threads.
"""

from __future__ import annotations

import argparse
import math

from rigl_rl.benchmarks import benchmark
from rigl_rl.errors import UserError


class Layers(benchmark.Benchmark):
  """One layer of some shape; peers need a Python of their own."""

  peers = ('torch', *(f'sparseprop_{s}' for s in benchmark.SPARSITIES))
  contenders = (*peers, 'dense', *(f'sparse_{s}' for s in benchmark.SPARSITIES))
  references = ('dense', 'sparseprop_90', 'sparseprop_95')
  first_steps = 10

  def add_arguments(self, parser):
    parser.add_argument(
      '--shape',
      default='256,256,256',
      help='inputs, outputs and examples (default: 256,256,256)',
    )

  def peer_arguments(self, contender, arguments):
    library, sparsity = benchmark.parse_contender(contender)
    return [
      f'--library={library}',
      f'--sparsity={sparsity or 0.0}',
      f'--shape={",".join(map(str, _shape(arguments)))}',
      f'--threads={arguments.intra_op_threads}',
    ]

  def make(self, contender, arguments):
    inputs, outputs, examples = _shape(arguments)
    import tensorflow as tf

    from rigl_rl.kernels import loader
    from rigl_rl.runtime import traced
    from rigl_rl.sparsity import wrappers

    storage, sparsity = benchmark.parse_contender(contender)
    layer = wrappers.SparseWrapper(
      tf.keras.layers.Dense(
        outputs, kernel_initializer=tf.keras.initializers.GlorotUniform(seed=0)
      ),
      sparsity or 0.0,
    )
    layer.build((None, inputs))
    if storage == 'sparse':
      if loader.load() is None:
        raise UserError(
          f'--contenders names {contender}, which needs the compiled '
          'operations: a C++ compiler, and RIGL_RL_KERNELS not 0.'
        )
      layer.store_sparsely()
    x = tf.random.stateless_normal((examples, inputs), (1, 2))
    dy = tf.random.stateless_normal((examples, outputs), (3, 4))
    variables = [x, *layer.trainable_variables]

    def step():
      with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
      return [y, *tape.gradient(y, variables, dy)]

    # The loop is part of the graph, so that no Python is timed. Each step
    # carries its results to the next; TensorFlow would remove unused ones.
    def run(steps):
      return tf.while_loop(
        lambda i, *_: i < steps,
        lambda i, *_: [i + 1, *step()],
        [0, *map(tf.zeros_like, (dy, *variables))],
        parallel_iterations=1,
      )[-1]

    call = traced.Traced(run, tf.TensorSpec((), tf.int32))

    def train(steps):
      call(steps).numpy()
      return steps

    return train

  def multiply_adds(self, contender, arguments):
    # Of the output, the gradient of the input and that of the kernel.
    _, sparsity = benchmark.parse_contender(contender)
    return 3 * math.prod(_shape(arguments)) * (1 - (sparsity or 0.0))


def _shape(arguments: argparse.Namespace) -> tuple[int, ...]:
  try:
    shape = tuple(int(n) for n in arguments.shape.split(','))
  except ValueError:
    shape = ()
  if len(shape) != 3 or min(shape) < 1:
    raise UserError(
      f'--shape is {arguments.shape!r}, but must be numbers of at least 1, '
      'separated by commas, of which there are 3: inputs, outputs, examples.'
    )
  return shape
