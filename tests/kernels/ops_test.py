"""Tests of the operations: equal to TensorFlow's own, bit for bit."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import masks

# Longer than the sample by which the threshold is looked for; not a multiple
# of a vector's width.
LONG = 5003


def _bits(array) -> np.ndarray:
  return np.asarray(array, np.float32).view(np.uint32)


def _assert_same(one, other) -> None:
  np.testing.assert_array_equal(_bits(one), _bits(other))


def _by_tensorflow(online, target):
  count = tf.math.count_nonzero(online, dtype=tf.int32)
  kept = masks.top_k_mask(tf.abs(target), count)
  return (target * kept).numpy(), kept.numpy()


def _sparse(rng, shape, density):
  values = rng.standard_normal(shape).astype(np.float32)
  return np.where(rng.random(shape) < density, values, 0).astype(np.float32)


def _cases():
  """Pairs of an online and a target kernel, by what is special of them."""
  rng = np.random.default_rng(0)
  for shape in ((1, 1), (1, 7), (17, 1), (17, 256), (33, 61), (3, 3, 5, 7)):
    for online, target in ((0.5, 0.6), (0.1, 0.9), (0.9, 0.1), (0.5, 0.5)):
      yield (
        f'{shape}, {online} of {target}',
        _sparse(rng, shape, online),
        _sparse(rng, shape, target),
      )
  for size in (6, LONG):
    half = np.arange(size) % 2
    some = _sparse(rng, size, 0.5)
    yield f'{size} zeros', np.zeros(size), np.zeros(size)
    yield f'{size}, k = 0', np.zeros(size), some
    yield f'{size}, k = size', np.ones(size), some
    yield f'{size} zeros and k > 0', half, np.zeros(size)
    yield f'{size} ties', half, np.full(size, -2)
    yield f'{size} ties and zeros', half * (rng.random(size) < 0.5), half
    yield f'{size} of few values', half, rng.integers(-2, 3, size)
    yield f'{size}, k = nonzeros', some, np.roll(some, 1)
    yield f'{size} negative zeros', half, -0.0 * half
    yield f'{size} extreme', half, some * np.float32(1e37)
    infinite = np.where(half, some, 3)
    infinite[1] = -np.inf
    yield f'{size} infinite', half, infinite
  # As the sample sees it, nearly all weights are small.
  misleading = np.full(100_000, 1e-3)
  misleading[1::2] = rng.standard_normal(50_000)
  misleading[:: (100_000 // 2048) | 1] = 1e-6
  for k in (1, 2048, 49_000, 99_000):
    yield f'misleading, {k}', np.arange(100_000) < k, misleading
  for drop in (1, 700, 20_000):
    values = _sparse(rng, 256 * 256, 0.6)
    online = values.copy()
    online[np.flatnonzero(values)[:drop]] = 0
    yield f'256 x 256, {drop} fewer', online, values


CASES = [
  pytest.param(np.float32(online), np.float32(target), id=name)
  for name, online, target in _cases()
]


@pytest.mark.parametrize('online,target', CASES)
def test_maintain_sparsity(operations, online, target):
  source = tf.Variable(online)
  kernel = tf.Variable(target)
  mask = tf.Variable(np.full_like(target, 7))
  expected = _by_tensorflow(source, kernel)
  operations.rigl_maintain_sparsity(
    online=[source.handle], target=[kernel.handle], mask=[mask.handle]
  )
  _assert_same(kernel, expected[0])
  _assert_same(mask, expected[1])
  _assert_same(source, online)


def test_a_sum_of_masks_is_the_count(operations):
  """Also where there are not enough weights that are not zero."""
  source = tf.Variable([1.0, 2, 3, 0])
  kernel = tf.Variable([0.0, 0, -5, 0])
  mask = tf.Variable([1.0, 1, 1, 1])
  operations.rigl_maintain_sparsity(
    online=[source.handle], target=[kernel.handle], mask=[mask.handle]
  )
  assert mask.numpy().tolist() == [1, 1, 1, 0]
  assert kernel.numpy().tolist() == [0, 0, -5, 0]


def test_denormals_in_a_function(operations):
  """Pool threads take them for zeros, as those of TensorFlow's operations."""
  online = np.float32([1, 1e-40, 1, 0])
  target = np.float32([0, 2e-40, 1, -1e-41])

  def kept(maintain):
    variables = [tf.Variable(array) for array in (online, target, target)]
    tf.function(maintain, autograph=False).get_concrete_function(*variables)(
      *variables
    )
    return variables[1:]

  def by_kernel(source, kernel, mask):
    operations.rigl_maintain_sparsity(
      online=[source.handle], target=[kernel.handle], mask=[mask.handle]
    )

  def by_tensorflow(source, kernel, mask):
    count = tf.math.count_nonzero(source, dtype=tf.int32)
    mask.assign(masks.top_k_mask(tf.abs(kernel), count))
    kernel.assign(kernel * mask)

  for one, other in zip(kept(by_kernel), kept(by_tensorflow)):
    _assert_same(one, other)


def _variables(seed, shapes, densities):
  rng = np.random.default_rng(seed)
  return [
    [tf.Variable(_sparse(rng, shape, density)) for shape in shapes]
    for density in densities
  ]


def _handles(variables):
  return [variable.handle for variable in variables]


def test_what_was_read_before_stays(operations):
  """Also where the variable's buffer is still held by who read it."""
  online, target, mask = _variables(
    1, [(20, 30), (7,), (64, 64)], (0.5, 0.6, 1)
  )
  expected = [_by_tensorflow(o, t) for o, t in zip(online, target)]
  before = [variable.numpy() for variable in target + mask]
  held = [variable.read_value() for variable in target + mask]

  def step():
    read_before = [tf.identity(variable) for variable in target + mask]
    operations.rigl_maintain_sparsity(
      online=_handles(online), target=_handles(target), mask=_handles(mask)
    )
    return read_before, [tf.identity(variable) for variable in target + mask]

  step = tf.function(step, autograph=False).get_concrete_function()
  read_before, read_after = step()
  for tensors in (held, read_before):
    for tensor, value in zip(tensors, before):
      _assert_same(tensor, value)
  wanted = [kernel for kernel, _ in expected] + [kept for _, kept in expected]
  for tensor, variable, value in zip(read_after, target + mask, wanted):
    _assert_same(tensor, value)
    _assert_same(variable, value)


def test_assignments_keep_their_order(operations):
  (online,), (target,), (mask,) = _variables(2, [(40,)], (0.5, 1, 1))

  @tf.function(autograph=False)
  def step():
    online.assign(tf.ones_like(online))
    target.assign_add(tf.ones_like(target))
    operations.rigl_maintain_sparsity(
      online=[online.handle], target=[target.handle], mask=[mask.handle]
    )
    online.assign(tf.zeros_like(online))
    target.assign(target * 2)

  value = target.numpy()
  step()
  _assert_same(target, (value + 1) * 2)
  _assert_same(mask, np.ones(40))


@pytest.mark.parametrize('tau', [0.005, 0.3, 1.0])
@pytest.mark.parametrize('in_function', [True, False])
def test_soft_update(operations, tau, in_function):
  shapes = [(17, 256), (256,), (1,), (33, 5, 3), ()]
  online, target = _variables(3, shapes, (0.7, 0.6))
  twins = [tf.Variable(variable) for variable in target]
  held = [variable.read_value() for variable in target]
  before = [variable.numpy() for variable in target]

  def by_kernel():
    operations.rigl_soft_update(
      online=_handles(online), target=_handles(target), tau=tau
    )

  def by_tensorflow():
    for source, twin in zip(online, twins):
      tf.raw_ops.ResourceApplyGradientDescent(
        var=twin.handle, alpha=tau, delta=twin - source
      )

  for update in (by_kernel, by_tensorflow):
    if in_function:
      update = tf.function(update, autograph=False)
    for _ in range(3):
      update()
  for variable, twin in zip(target, twins):
    _assert_same(variable, twin)
  for tensor, value in zip(held, before):
    _assert_same(tensor, value)


@pytest.mark.parametrize('in_function', [True, False])
def test_unlike_variables_are_refused(operations, in_function):
  short, long = tf.Variable([1.0, 2]), tf.Variable([1.0, 2, 3])
  double = tf.Variable([1.0, 2], dtype=tf.float64)
  other = tf.Variable([3.0, 4])

  def maintain(*variables):
    def call():
      operations.rigl_maintain_sparsity(
        online=[variables[0].handle],
        target=[variables[1].handle],
        mask=[variables[2].handle],
      )

    return tf.function(call, autograph=False) if in_function else call

  # Where shapes are inferred a ValueError, else an InvalidArgumentError.
  refusals = (ValueError, tf.errors.InvalidArgumentError)
  for variables in ((short, long, other), (short, other, long)):
    with pytest.raises(refusals, match='[Dd]imension|one shape'):
      maintain(*variables)()
  with pytest.raises(refusals, match='float32'):
    maintain(short, other, double)()
  with pytest.raises(tf.errors.InvalidArgumentError, match='differ'):
    maintain(short, other, other)()
  assert other.numpy().tolist() == [3, 4]


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
      'var': _handles(self.variables),
      'm': _handles(self.m),
      'v': _handles(self.v),
      'mask': _handles(self.masks),
      'masked': self.masked,
      'gradient': gradients,
      'learning_rate': 3e-3,
      'beta1': 0.9,
      'beta2': 0.999,
      'epsilon': 1e-7,
      'iterations': iterations,
    }
    operations.rigl_adam(**{**arguments, **changes})

  def by_tensorflow(
    self, gradients, iterations, weight_decay=0.0, mask_kernels=False
  ):
    step = tf.cast(iterations + 1, tf.float32)
    masks = dict(zip(self.masked, self.masks))
    for i, gradient in enumerate(gradients):
      variable = self.variables[i]
      if i in masks and not mask_kernels:
        gradient = gradient * masks[i]
      if weight_decay:
        gradient = gradient + weight_decay * variable
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
@pytest.mark.parametrize('weight_decay', [0.0, 0.01])
@pytest.mark.parametrize('masked', [MASKED, []])
def test_adam(operations, masked, weight_decay, mask_kernels):
  one, other = _Adam(masked=masked), _Adam(masked=masked)
  settings = {'weight_decay': weight_decay, 'mask_kernels': mask_kernels}

  # Where all threads take denormals alike.
  @tf.function(autograph=False)
  def step(iterations, *gradients):
    one.by_kernel(operations, gradients, iterations, **settings)
    other.by_tensorflow(gradients, iterations, **settings)

  for i in range(5):
    step(tf.constant(i, tf.int64), *_gradients(i))
    for variable, twin in zip(one.all, other.all):
      _assert_same(variable, twin)
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
  _assert_same(one.variables[0], other.variables[0])


def test_adam_eagerly_keeps_denormals(operations):
  one, other = (_Adam(shapes=[(9,)], masked=[]) for _ in range(2))
  gradients = [tf.constant([1e-20, 3e-20, 1e-38, 1e-40, 0, -1e-19, 1, -2, 3])]
  for i in range(3):
    one.by_kernel(operations, gradients, i)
    other.by_tensorflow(gradients, tf.constant(i))
  for variable, twin in zip(one.all, other.all):
    _assert_same(variable, twin)


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
      _assert_same(tensor, value)
  for tensor, variable, twin in zip(read_after, one.all, other.all):
    _assert_same(tensor, twin)
    _assert_same(variable, twin)


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
      return _handles(made[-len(value) :])
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
    _assert_same(variable, value)


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
from tests.kernels import ops_test
state = ops_test._Adam(shapes=[(700, 501), (3,), (90, 1001)], masked=[2])
digest = hashlib.sha256()
for i in range(3):
  gradients = ops_test._gradients(i, [(700, 501), (3,), (90, 1001)])
  state.by_kernel(loader.load(), gradients, i, weight_decay=0.1)
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
      env={**os.environ, 'PYTHONPATH': str(root)},
    ).stdout
    for threads in (1, 3, 8)
  }
  assert len(found) == 1 and len(found.pop()) == 65
