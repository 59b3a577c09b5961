"""Tests of the optimizers that gin files name."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import array_spec, tensor_spec
from tf_agents.trajectories import time_step as ts

from rigl_rl.agents import optimizers, sac
from rigl_rl.networks import sparse_layers
from rigl_rl.replay import transition_buffer
from rigl_rl.runtime import traced
from rigl_rl.sparsity import algorithms, mask_updater, schedules, wrappers
from rigl_rl.sparsity import optimizer as sparse_optimizer


def _torch_adam(weights, gradients, learning_rate, weight_decay, epsilon=1e-8):
  """torch.optim.Adam's documented update, for each gradient in turn."""
  m = v = np.zeros_like(weights)
  for t, gradient in enumerate(gradients, start=1):
    gradient = gradient + weight_decay * weights
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    weights = weights - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
  return weights


def test_adam():
  adam = optimizers.adam(0.5, epsilon=1e-3)
  variable = tf.Variable(1.0)
  adam.apply_gradients([(tf.constant(2.0), variable)])
  # For any slope, the first step has about the size of the learning rate.
  assert float(variable) == pytest.approx(0.5, abs=1e-2)
  assert adam.epsilon == 1e-3


@pytest.mark.parametrize('steps', [1, 1000])
def test_epsilon_is_keras(steps):
  """In step t that of PyTorch times 1 / √(1 − .999^t)."""
  adam = optimizers.adam(1.0, epsilon=1e-3)
  variable = tf.Variable(0.0)
  adam.apply_gradients([(tf.constant(0.01), variable)])
  # As if it were a later step, whose moments are those of equal gradients.
  adam.iterations.assign(steps - 1)
  adam.get_slot(variable, 'm').assign(0.01 * (1 - 0.9 ** (steps - 1)))
  adam.get_slot(variable, 'v').assign(1e-4 * (1 - 0.999 ** (steps - 1)))
  variable.assign(0.0)
  adam.apply_gradients([(tf.constant(0.01), variable)])
  factor = {1: 31.6, 1000: 1.258}[steps]
  expected = -0.01 / (0.01 + factor * 1e-3)
  assert float(variable) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('weight_decay', [0, 0.3])
def test_weight_decay_is_pytorchs(weight_decay, graph):
  adam = optimizers.adam(0.05, weight_decay=weight_decay)
  rng = np.random.default_rng(0)
  # A kernel and its bias: of either.
  starts = [rng.standard_normal(shape) for shape in ((4, 3), (3,))]
  gradients = [
    rng.standard_normal((6, *start.shape)).astype(np.float32)
    for start in starts
  ]
  variables = [tf.Variable(start, dtype=tf.float32) for start in starts]

  def step(*gradients):
    adam.apply_gradients(zip(gradients, variables))

  step = tf.function(step) if graph else step
  for pair in zip(*gradients):
    step(*map(tf.constant, pair))
  for start, found, slopes in zip(starts, variables, gradients):
    expected = _torch_adam(start, slopes, 0.05, weight_decay)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # The test can distinguish the two decays.
    other = _torch_adam(start, slopes, 0.05, 0.3 - weight_decay)
    assert np.abs(found - other).max() > 1e-2


def test_weight_decay_alone_shrinks_weights():
  adam = optimizers.adam(0.1, weight_decay=0.2)
  variable = tf.Variable([1.0, -1.0, 0.0])
  adam.apply_gradients([(tf.zeros(3), variable)])
  np.testing.assert_allclose(variable, [0.9, -0.9, 0.0], rtol=1e-5)


def test_epsilon_and_slots_of_the_decaying_one():
  adam = optimizers.adam(0.5, epsilon=0.25, weight_decay=0.1)
  assert adam.epsilon == 0.25
  adam._create_all_weights([tf.Variable([1.0])])
  assert adam.get_slot_names() == ['m', 'v']
  assert len(adam.variables()) == 3


def test_inactive_weights_stay_zero():
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(8))
  layer.build((None, 8))
  layer.initialize(0.5, algorithms.DS(0.5), seed=0)
  layer.bias.assign(tf.ones(8))
  inner = optimizers.adam(0.1, weight_decay=0.5)
  sparse = sparse_optimizer.SparseOptimizer(
    inner,
    [layer],
    mask_updater.MaskUpdater(
      [layer], schedules.UpdateSchedule(9, end=1.0, interval=2)
    ),
  )
  masks = []
  for step in range(9):
    gradients = [
      tf.random.stateless_normal(variable.shape, (step, i))
      for i, variable in enumerate((layer.kernel, layer.bias))
    ]
    sparse.apply_gradients(zip(gradients, (layer.kernel, layer.bias)))
    masks.append(layer.mask.numpy())
    off = masks[-1] == 0
    assert off.any() and not layer.kernel.numpy()[off].any()
    for name in inner.get_slot_names():
      assert not inner.get_slot(layer.kernel, name).numpy()[off].any()
  assert (masks[0] != masks[-1]).any()


@pytest.mark.parametrize('value', [0, -1.0, 'x', None, float('nan')])
@pytest.mark.parametrize('name', ['learning_rate', 'epsilon'])
def test_value_outside_its_range(name, value, user_error):
  with user_error(f'adam.{name} is {value!r}', 'a number above 0'):
    optimizers.adam(**{name: value})


@pytest.mark.parametrize(
  'value', [-1e-9, 'x', None, float('nan'), float('inf'), True]
)
def test_weight_decay_outside_its_range(value, user_error):
  with user_error(f'adam.weight_decay is {value!r}', 'a number of at least 0'):
    optimizers.adam(weight_decay=value)


def test_scopes_bind_weight_decay_apart(no_gin_config):
  gin.parse_config('critic/adam.weight_decay = 0.25')
  variable = tf.Variable([1.0])
  for scope, expected in (('actor', 1.0), ('critic', 0.9)):
    with gin.config_scope(scope):
      adam = optimizers.adam(0.1)
    adam.apply_gradients([(tf.zeros(1), variable)])
    assert float(variable[0]) == pytest.approx(expected)


def _by_both(train, monkeypatch):
  """Returns what `train` returns, with the kernels and without them."""
  with monkeypatch.context() as patch:
    patch.setenv('RIGL_RL_KERNELS', '0')
    without = train()
  return train(), without


def _assert_same(one, other) -> None:
  assert len(one) == len(other)
  for array, twin in zip(one, other):
    np.testing.assert_array_equal(array, twin, strict=True)


# Above and below what has an operation of its own.
_WIDTHS = (130, 150, 3)


def _sparse_training(steps=5, weight_decay=0.0, **arguments):
  """Trains two networks' layers; returns all variables."""
  layers = []
  for i, width in enumerate(_WIDTHS[1:] * 2):
    layer = wrappers.SparseWrapper(tf.keras.layers.Dense(width))
    layer.build((None, _WIDTHS[i % 2]))
    layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, (i, 9)))
    # One layer is dense, one changes its mask.
    algorithm = algorithms.RigL(0.5) if i == 0 else algorithms.Static()
    layer.initialize(0.5 * (i < 3), algorithm, seed=i)
    layers.append(layer)
  adam = optimizers.adam(0.01, weight_decay=weight_decay)
  sparse = sparse_optimizer.SparseOptimizer(
    adam,
    layers,
    mask_updater.MaskUpdater(
      layers, schedules.UpdateSchedule(steps, end=1.0, interval=3)
    ),
    **arguments,
  )
  variables = [v for layer in layers for v in (layer.kernel, layer.bias)]
  sparse.create_slots(variables)

  @tf.function(autograph=False)
  def step(seed):
    gradients = [
      tf.random.stateless_normal(variable.shape, (seed, i))
      for i, variable in enumerate(variables)
    ]
    sparse.apply_gradients(zip(gradients, variables))

  for i in range(steps):
    step(tf.constant(i))
  masks = [layer.mask for layer in layers]
  kinds = _operations(step.get_concrete_function(tf.constant(0)).graph)
  return [v.numpy() for v in [*sparse.variables(), *variables, *masks]], kinds


def _operations(graph):
  """Counts the kinds of operations, those of branches included."""
  kinds = [node.op for node in graph.as_graph_def().node]
  for function in graph.as_graph_def().library.function:
    kinds += [node.op for node in function.node_def]
  return {kind: kinds.count(kind) for kind in set(kinds)}


@pytest.mark.parametrize(
  ('weight_decay', 'dense_slots', 'replace_gradient_step'),
  [(0.0, False, False), (0.1, False, True), (0.1, True, False)],
)
def test_kernels_change_no_number(
  operations, monkeypatch, weight_decay, dense_slots, replace_gradient_step
):
  (one, kinds), (other, plain) = _by_both(
    lambda: _sparse_training(
      weight_decay=weight_decay,
      dense_slots=dense_slots,
      replace_gradient_step=replace_gradient_step,
    ),
    monkeypatch,
  )
  _assert_same(one, other)
  assert 'ResourceApplyAdam' not in kinds and 'RiglAdam' not in plain
  # Of either network one for its large kernel, one for all else.
  assert kinds['RiglAdam'] == 4 and plain['ResourceApplyAdam'] == 8


def _decay_training(disturb=lambda variable: None):
  """Trains with weight decay in the loss; returns weights, and the kinds of
  operations that give Adam its gradients."""
  adam = optimizers.adam(0.01)
  decay = sparse_layers.SumOfSquares(0.25)
  variables = [tf.Variable([1.0, -2.0, 3.0]), tf.Variable([[2.0, 1.0]])]

  @tf.function(autograph=False)
  def step():
    with tf.GradientTape() as tape:
      loss = sum(tf.reduce_sum(tf.sin(v)) + decay(v) for v in variables)
    gradients = tape.gradient(loss, variables)
    disturb(variables[0])
    adam.apply_gradients(zip(gradients, variables))

  for _ in range(5):
    step()
  kinds = [
    {tensor.op.type for tensor in operation.inputs if tensor.shape.rank > 0}
    for operation in step.get_concrete_function().graph.get_operations()
    if operation.type == 'RiglAdam'
  ]
  return [variable.numpy() for variable in variables], kinds


def test_weight_decay_of_a_loss_is_part_of_the_step(operations, monkeypatch):
  (one, kinds), (other, _) = _by_both(_decay_training, monkeypatch)
  _assert_same(one, other)
  assert kinds == [{'Mul'}]  # By the cosines; the decay would add an 'AddN'.


def test_weight_decay_is_of_the_weights_that_the_loss_read(
  operations, monkeypatch
):
  def train():
    return _decay_training(lambda variable: variable.assign_add(tf.ones(3)))

  (one, kinds), (other, _) = _by_both(train, monkeypatch)
  _assert_same(one, other)
  assert kinds == [{'AddN', 'Mul'}]


@pytest.mark.parametrize(
  'change',
  [
    lambda adam: setattr(adam, 'learning_rate', 0.5),
    lambda adam: setattr(adam, 'beta_1', 0.5),
    lambda adam: adam.iterations.assign(1000),
  ],
)
def test_kernels_see_what_changes(operations, monkeypatch, change):
  def train(changes=True):
    adam = optimizers.adam(0.01)
    variable = tf.Variable([1.0, 2.0])

    @tf.function(autograph=False)
    def step():
      adam.apply_gradients([(2 * variable, variable)])

    for i in range(5):
      if changes and i == 2:
        change(adam)
      step()
    return [variable.numpy()]

  _assert_same(*_by_both(train, monkeypatch))
  assert (train()[0] != train(changes=False)[0]).all()


def test_kernels_follow_a_schedule(operations, monkeypatch):
  def train():
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    adam = optimizers._Adam(schedule, 1e-7, 0.0)
    variable = tf.Variable([1.0, 2.0])
    for _ in range(5):
      adam.apply_gradients([(2 * variable, variable)])
    assert int(adam.iterations) == 5
    return [variable.numpy()]

  _assert_same(*_by_both(train, monkeypatch))


def _takes(adam, *pairs, masks=None):
  return adam.takes_masks(list(pairs), masks or {})


def test_what_the_kernels_do_not_take(operations):
  adam = optimizers.adam()
  one, other = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
  gradient = tf.ones(2)
  assert _takes(adam, (gradient, one), (gradient, other))
  assert _takes(adam, (gradient, one), masks={one.ref(): other})
  assert not _takes(adam)
  assert not _takes(adam, (gradient, one), (gradient, one))
  assert not _takes(adam, (gradient, one), masks={other.ref(): one})
  assert not _takes(adam, (None, one), (gradient, other))
  assert not _takes(adam, (tf.IndexedSlices(gradient, [0, 1]), one))
  assert not _takes(adam, (tf.ones(3), one))
  double = tf.Variable([1.0, 2.0], dtype=tf.float64)
  assert not _takes(adam, (tf.ones(2, tf.float64), double))
  bounded = tf.Variable([1.0, 2.0], constraint=tf.nn.relu)
  assert not _takes(adam, (gradient, bounded))
  with tf.distribute.OneDeviceStrategy('cpu:0').scope():
    assert not _takes(adam, (gradient, one))
  for name in ('clipnorm', 'clipvalue', 'global_clipnorm'):
    adam = optimizers.adam()
    setattr(adam, name, 0.5)
    assert not _takes(adam, (gradient, one))


def test_the_parent_takes_the_other_steps(monkeypatch):
  def train():
    adam = optimizers.adam(0.1, weight_decay=0.1)
    rows = tf.Variable([[1.0], [2.0], [3.0]])
    unused, vector = tf.Variable([1.0]), tf.Variable([1.0, 2.0])
    slices = tf.IndexedSlices(tf.ones((1, 1)), [1], (3, 1))
    adam.apply_gradients([(slices, rows), (None, unused)])
    adam.apply_gradients([(tf.ones(2), vector), (tf.ones(2), vector)])
    adam.clipvalue = 1e-3
    adam.apply_gradients([(tf.ones(2), vector)], name='step')
    adam.apply_gradients(
      [(tf.ones(1), unused)], experimental_aggregate_gradients=False
    )
    assert int(adam.iterations) == 4
    found = [variable.numpy() for variable in (rows, unused, vector)]
    np.testing.assert_allclose(found[0][:, 0], [1, 1.9, 3], atol=1e-6)
    return found

  _assert_same(*_by_both(train, monkeypatch))
  with pytest.raises(ValueError, match='No gradients'):
    optimizers.adam().apply_gradients([(None, tf.Variable(1.0))])


def test_a_masked_layer_without_a_gradient_is_masked_all_the_same(operations):
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(8))
  layer.build((None, 8))
  layer.initialize(0.5, algorithms.Static(), seed=0)
  sparse = sparse_optimizer.SparseOptimizer(
    optimizers.adam(),
    [layer],
    mask_updater.MaskUpdater([layer], schedules.UpdateSchedule(9)),
    dense_slots=True,
  )
  layer.kernel.assign(tf.ones((8, 8)))
  sparse.apply_gradients([(tf.ones(8), layer.bias)])
  np.testing.assert_array_equal(layer.kernel, layer.mask)


def test_a_step_in_a_graph_is_an_operation(operations):
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    adam = optimizers.adam(0.5)
    variable = tf.Variable([1.0, 1.0])
    step = adam.apply_gradients([(tf.ones(2), variable)])
    session.run(tf.compat.v1.global_variables_initializer())
    for _ in range(2):
      session.run(step)
    np.testing.assert_allclose(session.run(variable), [0, 0], atol=1e-5)
    assert session.run(adam.iterations) == 2


@pytest.mark.parametrize(
  'dense_slots', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_kernels_train_the_same_agent(
  operations, monkeypatch, no_gin_config, dense_slots
):
  gin.parse_config(f"""
    SquashedGaussianActor.hidden_units = (16, 16)
    Critic.hidden_units = (16, 16)
    sparsify.sparsity = 0.5
    UpdateSchedule.interval = 2
    make_sparse_optimizer.dense_slots = {dense_slots}
  """)
  gin.bind_parameter('sparsify.algorithm', algorithms.RigL())
  # Only the kernels' calls would differ by rounding.
  monkeypatch.setattr(traced, '_SMALL_STEP', 0)
  rng = np.random.default_rng(0)
  batches = [
    transition_buffer.Transitions(
      *np.split(rng.standard_normal((8, 12)).astype(np.float32), [5, 7], 1)[:2],
      np.float32(rng.standard_normal(8)),
      np.float32(rng.random(8) > 0.2),
      np.float32(rng.standard_normal((8, 5))),
    )
    for _ in range(8)
  ]

  def train():
    agent = sac.SparseSacAgent(
      tensor_spec.from_spec(
        ts.time_step_spec(array_spec.ArraySpec((5,), np.float32, 'obs'))
      ),
      tensor_spec.from_spec(
        array_spec.BoundedArraySpec((2,), np.float32, -1, 1, 'action')
      ),
      seed=0,
      gradient_steps=10,
    )
    for batch in batches:
      agent.train_step(batch, batch.observation[0])
    networks = agent.networks
    return [
      variable.numpy()
      for name in ('actor', 'critic_1', 'critic_2')
      for variable in networks[name].variables
    ]

  _assert_same(*_by_both(train, monkeypatch))
