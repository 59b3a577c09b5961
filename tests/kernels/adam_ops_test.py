"""Tests of Adam's operation: equal to TensorFlow's own, bit for bit."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from helpers import kernel_variables

# Not multiples of a vector's width, shorter and longer than a block; and empty.
SHAPES = [(17, 256), (256,), (1,), (), (300, 211), (33, 5, 3), (0, 3), (1023,)]


MASKED = [0, 4, 5, 2]  # In no order.


class _Adam:
  """Variables and slots, and their step by either path."""

  def __init__(self, seed=0, shapes=SHAPES, masked=MASKED):
    rng = np.random.default_rng(seed)
    self.masked = masked
    self.masks = [
      tf.Variable(np.float32(rng.random(shapes[i]) < 0.3)) for i in masked
    ]
    self.variables = [
      tf.Variable(np.float32(rng.standard_normal(shape))) for shape in shapes
    ]
    for i, mask in zip(masked, self.masks):
      self.variables[i].assign(self.variables[i] * mask)
    self.m = [tf.Variable(tf.zeros(shape)) for shape in shapes]
    self.v = [tf.Variable(tf.zeros(shape)) for shape in shapes]

  @property
  def all(self):
    return self.variables + self.m + self.v

  def by_kernel(self, operations, gradients, iterations, **changes):
    arguments = {
      'var': kernel_variables.handles(self.variables),
      'm': kernel_variables.handles(self.m),
      'v': kernel_variables.handles(self.v),
      'mask': kernel_variables.handles(self.masks),
      'masked': self.masked,
      'gradient': gradients,
      'weight_decay': [0.0] * len(gradients),
      'learning_rate': 3e-3,
      'beta1': 0.9,
      'beta2': 0.999,
      'epsilon': 1e-7,
      'iterations': iterations,
    }
    operations.rigl_adam(**{**arguments, **changes})

  def by_tensorflow(
    self, gradients, iterations, weight_decay=None, mask_kernels=False
  ):
    step = tf.cast(iterations + 1, tf.float32)
    masks = dict(zip(self.masked, self.masks))
    for i, gradient in enumerate(gradients):
      variable = self.variables[i]
      if i in masks and not mask_kernels:
        gradient = gradient * masks[i]
      if weight_decay is not None:
        gradient = gradient + weight_decay[i] * variable
      tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self.m[i].handle,
        v=self.v[i].handle,
        beta1_power=tf.pow(tf.constant(0.9), step),
        beta2_power=tf.pow(tf.constant(0.999), step),
        lr=3e-3,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-7,
        grad=gradient,
      )
      if i in masks and mask_kernels:
        variable.assign(variable * masks[i])


def _gradients(seed, shapes=SHAPES):
  """Of magnitudes from those whose squares vanish to large ones."""
  rng = np.random.default_rng(seed)
  return [
    tf.constant(
      rng.standard_normal(shape) * 10 ** rng.uniform(-24, 6, shape), tf.float32
    )
    for shape in shapes
  ]


@pytest.mark.parametrize('mask_kernels', [False, True])
@pytest.mark.parametrize('weight_decay', [[0.0] * 9, [0.01, 0.0, 0.02] * 3])
@pytest.mark.parametrize('masked', [MASKED, []])
def test_adam(operations, masked, weight_decay, mask_kernels):
  one, other = _Adam(masked=masked), _Adam(masked=masked)
  weight_decay = weight_decay[: len(SHAPES)]
  settings = {'weight_decay': weight_decay, 'mask_kernels': mask_kernels}

  # Where all threads take denormals alike.
  @tf.function(autograph=False)
  def step(iterations, *gradients):
    one.by_kernel(operations, gradients, iterations, **settings)
    other.by_tensorflow(gradients, iterations, **settings)

  for i in range(5):
    step(tf.constant(i, tf.int64), *_gradients(i))
    for variable, twin in zip(one.all, other.all):
      kernel_variables.assert_same(variable, twin)
  for i, mask in zip(masked, one.masks):
    off = mask.numpy() == 0
    assert not one.variables[i].numpy()[off].any()
    # The slots of inactive weights fill by their gradients, or do not.
    assert one.m[i].numpy()[off].any() == (mask_kernels and off.any())
  assert all(np.isfinite(v.numpy()).all() for v in one.variables)


def test_adam_corrects_the_bias_of_any_step(operations):
  counts = np.unique(np.geomspace(1, 3e6, 300).astype(np.int64)) - 1
  one, other = (_Adam(shapes=[(5,)], masked=[]) for _ in range(2))
  gradients = _gradients(0, [(5,)])
  for count in counts:
    one.by_kernel(operations, gradients, tf.constant(count))
    other.by_tensorflow(gradients, tf.constant(count))
  kernel_variables.assert_same(one.variables[0], other.variables[0])


def test_adam_eagerly_keeps_denormals(operations):
  one, other = (_Adam(shapes=[(9,)], masked=[]) for _ in range(2))
  gradients = [tf.constant([1e-20, 3e-20, 1e-38, 1e-40, 0, -1e-19, 1, -2, 3])]
  for i in range(3):
    one.by_kernel(operations, gradients, i)
    other.by_tensorflow(gradients, tf.constant(i))
  for variable, twin in zip(one.all, other.all):
    kernel_variables.assert_same(variable, twin)


def test_adam_leaves_what_was_read_before(operations):
  """And gradients that share a variable's memory."""
  one, other = _Adam(), _Adam()
  before = [variable.numpy() for variable in one.all]
  held = [variable.read_value() for variable in one.all]

  def step():
    read_before = [tf.identity(variable) for variable in one.all]
    one.by_kernel(operations, [v.read_value() for v in one.variables], 0)
    return read_before, [tf.identity(variable) for variable in one.all]

  read_before, read_after = tf.function(step, autograph=False)()
  other.by_tensorflow([v.read_value() for v in other.variables], tf.constant(0))
  for tensors in (held, read_before):
    for tensor, value in zip(tensors, before):
      kernel_variables.assert_same(tensor, value)
  for tensor, variable, twin in zip(read_after, one.all, other.all):
    kernel_variables.assert_same(tensor, twin)
    kernel_variables.assert_same(variable, twin)


@pytest.mark.parametrize('in_function', [True, False])
@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'gradient': [(2,), (3,)]}, '[Dd]imension|one shape'),
    ({'m': [(2,), (2,)]}, '[Dd]imension|one shape'),
    ({'v': [(2,), (2,)]}, '[Dd]imension|one shape'),
    ({'mask': [(2,)]}, '[Dd]imension|one shape'),
    ({'mask': [(3,), (3,)]}, '2 masks of 1'),
    ({'masked': [2]}, 'Mask 0 is of variable 2, of 2'),
    ({'mask': [(2,)], 'masked': [-1]}, 'Mask 0 is of variable -1'),
    ({'mask': [(2,), (2,)], 'masked': [1, 1]}, 'Mask 1 is of variable 1'),
    ({'weight_decay': [0.0, [0.1]]}, 'rank|scalar'),
    ({'learning_rate': [1.0]}, 'rank|scalar'),
    ({'iterations': [1]}, 'rank|scalar'),
  ],
)
def test_adam_refuses(operations, changes, message, in_function):
  state = _Adam(shapes=[(3,), (2,)], masked=[0])
  before = [variable.numpy() for variable in state.all]
  made = []

  def make(name, value):
    if name == 'gradient':
      return [tf.zeros(shape) for shape in value]
    if name in ('m', 'v', 'mask'):
      made.extend(tf.Variable(tf.zeros(shape)) for shape in value)
      return kernel_variables.handles(made[-len(value) :])
    return value

  changes = {name: make(name, value) for name, value in changes.items()}
  iterations = changes.pop('iterations', 0)
  gradients = [tf.ones(3), tf.ones(2)]

  def call():
    state.by_kernel(operations, gradients, iterations, **changes)

  call = tf.function(call, autograph=False) if in_function else call
  with pytest.raises(
    (ValueError, tf.errors.InvalidArgumentError), match=message
  ):
    call()
  for variable, value in zip(state.all, before):
    kernel_variables.assert_same(variable, value)


def test_adam_refuses_a_variable_given_twice(operations):
  state = _Adam(shapes=[(3,), (3,)], masked=[0, 1])
  gradients = [tf.ones(3), tf.ones(3)]
  variable, mask = state.variables[0].handle, state.masks[0].handle
  for changes in (
    {'var': [variable, variable]},
    {'m': [variable, state.m[1].handle]},
    {'mask': [variable, mask]},
  ):
    with pytest.raises(tf.errors.InvalidArgumentError, match='differ'):
      state.by_kernel(operations, gradients, 0, **changes)
  # A mask is only read.
  state.by_kernel(operations, gradients, 0, mask=[mask, mask])


def test_adam_refuses_other_types(operations):
  state = _Adam(shapes=[(2,)], masked=[])
  double = tf.Variable([1.0, 2], dtype=tf.float64)
  with pytest.raises(tf.errors.InvalidArgumentError, match='float32'):
    state.by_kernel(operations, [tf.ones(2)], 0, v=[double.handle])


PROGRAM = """
import hashlib
import sys

import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from rigl_rl.kernels import loader
from tests.kernels import adam_ops_test
state = adam_ops_test._Adam(shapes=[(700, 501), (3,), (90, 1001)], masked=[2])
digest = hashlib.sha256()
for i in range(3):
  gradients = adam_ops_test._gradients(i, [(700, 501), (3,), (90, 1001)])
  state.by_kernel(loader.load(), gradients, i, weight_decay=[0.1, 0.2, 0.3])
for variable in state.all:
  digest.update(variable.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_adam_does_not_depend_on_threads(operations):
  root = pathlib.Path(__file__).resolve().parents[2]
  found = {
    subprocess.run(
      [sys.executable, '-c', PROGRAM, str(threads)],
      stdout=subprocess.PIPE,
      check=True,
      text=True,
      cwd=root,
      env={**os.environ, 'PYTHONPATH': f'{root}{os.pathsep}{root / "tests"}'},
    ).stdout
    for threads in (1, 3, 8)
  }
  assert len(found) == 1 and len(found.pop()) == 65
