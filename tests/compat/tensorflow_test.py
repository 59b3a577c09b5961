"""What breaks without a private name of TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.compat import tensorflow as compat


def test_writer_resource(tmp_path):
  """Without it no event says that a run was resumed.

  TensorBoard and SNR figures would then show steps twice: those of the killed
  process and those of the resumed one.
  """
  writer = tf.summary.create_file_writer(str(tmp_path))
  event = tf.compat.v1.Event(step=7)
  tf.raw_ops.ImportEvent(
    writer=compat.writer_resource(writer), event=event.SerializeToString()
  )
  writer.close()
  (path,) = tmp_path.iterdir()
  steps = [e.step for e in tf.compat.v1.train.summary_iterator(str(path))]
  assert steps == [0, 7]


@pytest.mark.parametrize('is_told', [True, False])
def test_only_reads(operations, is_told):
  """Without it the actor's loss waits for the target networks' update."""
  online, target = (tf.Variable(tf.range(5.0) + i) for i in range(2))
  made = {}

  def step():
    made['update'] = operations.rigl_soft_update(
      online=[online.handle], target=[target.handle], tau=0.5
    )
    if is_told:
      compat.only_reads(made['update'], [0])
    for name, variable in (('online', online), ('target', target)):
      made[name] = tf.raw_ops.ReadVariableOp(
        resource=variable.handle, dtype=tf.float32
      )
    # What writes waits in either case.
    made['write'] = online.assign(tf.zeros_like(online), read_value=False)
    return made['online'], made['target']

  step = tf.function(step, autograph=False).get_concrete_function()
  update = made['update']
  assert (update in made['online'].op.control_inputs) == (not is_told)
  assert update in made['target'].op.control_inputs
  if is_told:
    assert update in made['write'].control_inputs
  expected = online.numpy(), (online.numpy() + target.numpy()) / 2
  for found, value in zip(step(), expected):
    np.testing.assert_allclose(found, value, rtol=1e-6)
  np.testing.assert_allclose(target, expected[1], rtol=1e-6)
  assert not np.any(online)


def test_not_inlined():
  """Without it each step walks through the operations of a mask update."""
  function = compat.not_inlined(lambda x: x + 1.0)
  assert function(tf.constant(1.0)) == 2.0
  concrete = function.get_concrete_function(tf.constant(1.0))
  assert concrete.function_def.attr['_noinline'].b


def _concrete(variable):
  return tf.function(
    lambda x, y: {'sum': x + y, 'pair': (variable * x, y)}, autograph=False
  ).get_concrete_function(*[tf.TensorSpec(())] * 2)


class _Other:
  """A concrete function of a TensorFlow that has none of the names."""

  def __init__(self, function):
    self._function = function
    self.structured_outputs = function.structured_outputs

  def __call__(self, *tensors):
    return self._function(*tensors)


@pytest.mark.parametrize('wrap', [lambda function: function, _Other])
def test_unchecked_call(wrap):
  """Without it a call takes longer, and gives the same."""
  variable = tf.Variable(3.0)
  function = _concrete(variable)
  assert hasattr(function, '_call_flat')
  call = compat.unchecked_call(wrap(function))
  for value in (3.0, 5.0):
    variable.assign(value)
    outputs = call([tf.constant(1.0), tf.constant(2.0)])
    assert outputs == {'sum': 3.0, 'pair': (value, 2.0)}


@pytest.mark.parametrize('wrap', [lambda function: function, _Other])
def test_packer(wrap):
  """Without it a call takes longer, and gives the same."""
  function = _concrete(tf.Variable(3.0))
  assert hasattr(function.function_type, 'pack_output')
  # Flat outputs are sorted by key.
  pack = compat.packer(wrap(function))
  assert pack([4, 5, 6]) == {'pair': (4, 5), 'sum': 6}


def test_set_constraint():
  """Without it Keras' own optimizers would fill the masks of a built layer."""
  variable = tf.Variable([1.0, 2.0])
  compat.set_constraint(variable, lambda value: value * [0.0, 1.0])
  for optimizer in (
    tf.keras.optimizers.SGD(1.0),
    tf.keras.optimizers.legacy.SGD(1.0),
    tf.compat.v1.train.GradientDescentOptimizer(1.0),
  ):
    before = variable.numpy()
    optimizer.apply_gradients([(tf.constant([1.0, 1.0]), variable)])
    assert list(variable.numpy()) == [0, before[1] - 1]
