"""Speed of one layer: its output and all gradients, in steps/s.

Ours is a dense layer in both storages, within a traced function, as in
training; a contender sparse_90 has 90 % sparsity. Peers are PyTorch's dense
layer and SparseProp's, by autograd: they need --peers_python. By
--inter_op_threads=1 --intra_op_threads=2 all share an operation between two
threads; small sparse ones are not shared, nor do two of them run at a time,
since a thread takes longer to wake.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import contenders
from rigl_rl.errors import UserError

CONTENDERS = (
  'torch',
  *(f'sparseprop_{sparsity}' for sparsity in contenders.SPARSITIES),
  'dense',
  *(f'sparse_{sparsity}' for sparsity in contenders.SPARSITIES),
)
PEERS = tuple(
  name for name in CONTENDERS if name.startswith(('torch', 'sparseprop'))
)
PEERS_SCRIPT = 'layer_peers.py'
REFERENCES = ('dense', 'sparseprop_90', 'sparseprop_95')
WARM_UP_STEPS = 100
PROBE_STEPS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--shape',
    default='256,256,256',
    help='inputs, outputs and examples (default: 256,256,256)',
  )


def peer_arguments(contender: str, arguments: argparse.Namespace) -> list[str]:
  """Returns what `layer_peers.py` takes for a contender."""
  library, sparsity = contenders.parse(contender)
  return [
    f'--library={library}',
    f'--sparsity={sparsity or 0.0}',
    f'--shape={",".join(map(str, _shape(arguments)))}',
    f'--threads={arguments.intra_op_threads}',
  ]


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package.

  Raises:
    UserError: the shape is none, or there are no compiled operations.
  """
  inputs, outputs, examples = _shape(arguments)
  import tensorflow as tf

  from rigl_rl.kernels import loader
  from rigl_rl.sparsity import wrappers

  storage, sparsity = contenders.parse(contender)
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
        f'--contenders names {contender}, which needs the compiled operations: '
        'a C++ compiler, and RIGL_RL_KERNELS not 0.'
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

  # Loops in a function, so that what is timed is no Python. Each result of a
  # step is carried to the next, else TensorFlow would leave it out.
  @tf.function(autograph=False)
  def run(steps):
    return tf.while_loop(
      lambda i, *_: i < steps,
      lambda i, *_: [i + 1, *step()],
      [0, *map(tf.zeros_like, (dy, *variables))],
      parallel_iterations=1,
    )[-1]

  def train(steps):
    run(tf.constant(steps)).numpy()
    return steps

  return train


def _shape(arguments: argparse.Namespace) -> tuple[int, ...]:
  return contenders.parse_shape(
    arguments.shape, 'inputs', 'outputs', 'examples'
  )
