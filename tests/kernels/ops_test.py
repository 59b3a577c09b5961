"""Tests of the operations: equal to TensorFlow's own, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import kernel_variables
from rigl_rl.sparsity import masks

# Longer than the sample by which the threshold is looked for; not a multiple
# of a vector's width.
LONG = 5003


def _by_tensorflow(online, target):
  count = tf.math.count_nonzero(online, dtype=tf.int32)
  kept = masks.top_k_mask(tf.abs(target), count)
  return (target * kept).numpy(), kept.numpy()


def _cases():
  """Pairs of an online and a target kernel, by what is special of them."""
  rng = np.random.default_rng(0)
  for shape in ((1, 1), (1, 7), (17, 1), (17, 256), (33, 61), (3, 3, 5, 7)):
    for online, target in ((0.5, 0.6), (0.1, 0.9), (0.9, 0.1), (0.5, 0.5)):
      yield (
        f'{shape}, {online} of {target}',
        kernel_variables.draw(rng, shape, online),
        kernel_variables.draw(rng, shape, target),
      )
  for size in (6, LONG):
    half = np.arange(size) % 2
    some = kernel_variables.draw(rng, size, 0.5)
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
    values = kernel_variables.draw(rng, 256 * 256, 0.6)
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
  kernel_variables.assert_same(kernel, expected[0])
  kernel_variables.assert_same(mask, expected[1])
  kernel_variables.assert_same(source, online)


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
    kernel_variables.assert_same(one, other)


def test_what_was_read_before_stays(operations):
  """Also where the variable's buffer is still held by who read it."""
  online, target, mask = kernel_variables.variables(
    1, [(20, 30), (7,), (64, 64)], (0.5, 0.6, 1)
  )
  expected = [_by_tensorflow(o, t) for o, t in zip(online, target)]
  before = [variable.numpy() for variable in target + mask]
  held = [variable.read_value() for variable in target + mask]

  def step():
    read_before = [tf.identity(variable) for variable in target + mask]
    operations.rigl_maintain_sparsity(
      online=kernel_variables.handles(online),
      target=kernel_variables.handles(target),
      mask=kernel_variables.handles(mask),
    )
    return read_before, [tf.identity(variable) for variable in target + mask]

  step = tf.function(step, autograph=False).get_concrete_function()
  read_before, read_after = step()
  for tensors in (held, read_before):
    for tensor, value in zip(tensors, before):
      kernel_variables.assert_same(tensor, value)
  wanted = [kernel for kernel, _ in expected] + [kept for _, kept in expected]
  for tensor, variable, value in zip(read_after, target + mask, wanted):
    kernel_variables.assert_same(tensor, value)
    kernel_variables.assert_same(variable, value)


def test_assignments_keep_their_order(operations):
  (online,), (target,), (mask,) = kernel_variables.variables(
    2, [(40,)], (0.5, 1, 1)
  )

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
  kernel_variables.assert_same(target, (value + 1) * 2)
  kernel_variables.assert_same(mask, np.ones(40))


@pytest.mark.parametrize('tau', [0.005, 0.3, 1.0])
@pytest.mark.parametrize('in_function', [True, False])
def test_soft_update(operations, tau, in_function):
  shapes = [(17, 256), (256,), (1,), (33, 5, 3), ()]
  online, target = kernel_variables.variables(3, shapes, (0.7, 0.6))
  twins = [tf.Variable(variable) for variable in target]
  held = [variable.read_value() for variable in target]
  before = [variable.numpy() for variable in target]

  def by_kernel():
    operations.rigl_soft_update(
      online=kernel_variables.handles(online),
      target=kernel_variables.handles(target),
      tau=tau,
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
    kernel_variables.assert_same(variable, twin)
  for tensor, value in zip(held, before):
    kernel_variables.assert_same(tensor, value)


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
