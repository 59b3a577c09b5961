"""What every sparse training algorithm must keep to.

One suite over all classes that `algorithms.__all__` names. An algorithm that
the package gains is covered without a change here.
"""

import dataclasses
import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import (
  algorithms,
  distributions,
  initializers,
  mask_updater,
  optimizer,
  schedules,
  wrappers,
)

_ALGORITHMS = [
  cls
  for cls in (getattr(algorithms, name) for name in algorithms.__all__)
  if issubclass(cls, algorithms.SparseAlgorithm)
  and cls is not algorithms.SparseAlgorithm
]
_BY_NAME = {cls.__name__: cls for cls in _ALGORITHMS}


def _has_drop_fraction(cls):
  return 'drop_fraction' in inspect.signature(cls.__init__).parameters


_DROP_AND_GROW = [
  cls.__name__ for cls in _ALGORITHMS if _has_drop_fraction(cls)
]
# Their masks depend only on the weights.
_NOT_RANDOM = ('Dense', 'Prune')

_OPTIMIZERS = {
  'adam': lambda: tf.keras.optimizers.legacy.Adam(0.01),
  'sgd': lambda: tf.keras.optimizers.legacy.SGD(0.05, momentum=0.9),
  'rmsprop': lambda: tf.keras.optimizers.legacy.RMSprop(0.01),
}
_SPARSITY = 0.55
_STEPS = 12
# The window, 1 to 9, ends off the interval.
_UPDATES = (1, 4, 7)
_WINDOW_END = 9


def _schedule():
  return schedules.UpdateSchedule(_STEPS, begin=0.1, end=0.75, interval=3)


def test_the_suite_runs_over_all_algorithms():
  assert {'DS', 'Dense', 'Prune', 'RigL', 'SET', 'Static'} <= set(_BY_NAME)
  assert {'DS', 'RigL', 'SET'} <= set(_DROP_AND_GROW)
  schedule = _schedule()
  assert _UPDATES == tuple(schedule.update_steps())
  assert _WINDOW_END == schedule.end_step
  assert _update_steps('Prune') == (*_UPDATES, _WINDOW_END)


def _update_steps(name):
  """The steps at which an algorithm's masks change."""
  at_end = _BY_NAME[name].updates_at_window_end
  return _UPDATES + ((_WINDOW_END,) if at_end else ())


def _one_layer(seed=0):
  """A single dense layer: less to trace."""
  initializer = tf.keras.initializers.GlorotUniform(seed=seed)
  layer = tf.keras.layers.Dense(3, kernel_initializer=initializer)
  model = tf.keras.Sequential([tf.keras.layers.Flatten(), layer])
  model.build((None, 4, 4, 2))
  return model


def _model(seed=0):
  """A convolution and two dense layers, one of them in its own wrapper."""

  def glorot(offset):
    return tf.keras.initializers.GlorotUniform(seed=10 * seed + offset)

  model = tf.keras.Sequential(
    [
      tf.keras.layers.Conv2D(
        3, 2, activation='tanh', kernel_initializer=glorot(1)
      ),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(
        tf.keras.layers.Dense(
          8, activation='tanh', kernel_initializer=glorot(2)
        )
      ),
      tf.keras.layers.Dense(3, kernel_initializer=glorot(3)),
    ]
  )
  model.build((None, 4, 4, 2))
  return model


def _batch(step):
  rng = np.random.default_rng(step)
  inputs = rng.standard_normal((6, 4, 4, 2)).astype(np.float32)
  return tf.constant(inputs), tf.constant(inputs[:, :3, 0, 0] * 2)


@dataclasses.dataclass
class _Snapshot:
  """All of a network's state, per layer, as NumPy arrays."""

  masks: list
  kernels: list
  biases: list
  slots: list  # Per layer a list, by slot name.


class _Run:
  """A network in training."""

  def __init__(
    self,
    name,
    sparsity=_SPARSITY,
    drop_fraction=0.5,
    seed=0,
    growth_seed=0,
    model=_model,
    model_seed=0,
    inner='adam',
    replace_gradient_step=False,
    graph=False,
  ):
    cls = _BY_NAME[name]
    kwargs = {'drop_fraction': drop_fraction} if _has_drop_fraction(cls) else {}
    self.model = model(model_seed)
    self.layers = wrappers.sparsify(
      self.model,
      distribution=distributions.uniform,
      sparsity=sparsity,
      algorithm=cls(**kwargs),
      initializer=initializers.sparsity_aware,
      seed=seed,
    )
    self.inner = _OPTIMIZERS[inner]()
    self.optimizer = optimizer.SparseOptimizer(
      self.inner,
      self.layers,
      mask_updater.MaskUpdater(self.layers, _schedule(), growth_seed),
      replace_gradient_step=replace_gradient_step,
    )
    self._step = tf.function(self._train) if graph else self._train

  def _train(self, inputs, targets):
    _train_step(self.model, self.optimizer, inputs, targets)

  def train(self, steps=range(_STEPS)):
    """Returns the state before training and after each step."""
    history = [self.snapshot()]
    for step in steps:
      self._step(*_batch(step))
      history.append(self.snapshot())
    return history

  def snapshot(self):
    names = self.inner.get_slot_names()

    def slots(layer):
      return [self.inner.get_slot(layer.kernel, n).numpy() for n in names]

    return _Snapshot(
      masks=[layer.mask.numpy() for layer in self.layers],
      kernels=[layer.kernel.numpy() for layer in self.layers],
      biases=[layer.bias.numpy() for layer in self.layers],
      slots=[slots(layer) for layer in self.layers],
    )


def _train_step(model, optimizer_, inputs, targets):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(inputs) - targets) ** 2)
  variables = model.trainable_variables
  gradients = tape.gradient(loss, variables)
  optimizer_.apply_gradients(zip(gradients, variables))


@functools.lru_cache(maxsize=None)
def _history(name, **kwargs):
  return _Run(name, **kwargs).train()


def _assert_equal(first, second):
  """Bit for bit."""
  for field in dataclasses.fields(_Snapshot):
    a, b = getattr(first, field.name), getattr(second, field.name)
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
      np.testing.assert_array_equal(x, y, err_msg=field.name)


def _assert_histories_equal(first, second):
  for a, b in zip(first, second, strict=True):
    _assert_equal(a, b)


def _count(mask):
  return int(mask.sum())


def _allowed(size, sparsity):
  """Active weights of a layer of `size` weights."""
  return size - distributions.num_zeros(size, sparsity)


def _mostly(values, where):
  """Few units have no active output, and so no gradient."""
  return where.any() and values[where].mean() > 0.5


each_algorithm = pytest.mark.parametrize('name', _BY_NAME)
each_drop_and_grow = pytest.mark.parametrize('name', _DROP_AND_GROW)
each_optimizer = pytest.mark.parametrize(
  ('inner', 'replace_gradient_step'),
  [('adam', False), ('adam', True), ('sgd', False), ('rmsprop', False)],
)


@each_algorithm
def test_active_count_is_exact(name):
  run = _Run(name)
  history = run.train()
  for i, layer in enumerate(run.layers):
    size = layer.mask.shape.num_elements()
    counts = [_count(snapshot.masks[i]) for snapshot in history]
    if hasattr(layer.algorithm, 'sparsity_at'):
      bound = layer.algorithm.bind(layer.sparsity, _schedule())
      expected = [size] * (1 + _UPDATES[0])
      for step in range(_UPDATES[0], _STEPS):
        last = max(s for s in _update_steps(name) if s <= step)
        sparsity = float(bound.sparsity_at(tf.constant(last, tf.int64)))
        expected.append(_allowed(size, sparsity))
      assert expected[-1] == _allowed(size, layer.sparsity)
    elif layer.algorithm.random_count:
      deviation = np.sqrt(size * _SPARSITY * (1 - _SPARSITY))
      assert abs(counts[0] - size * (1 - _SPARSITY)) < 5 * deviation
      expected = [counts[0]] * (_STEPS + 1)
    else:
      expected = [_allowed(size, layer.sparsity)] * (_STEPS + 1)
    assert counts == expected


def test_pruning_follows_the_cubic_curve():
  history = _history('Prune')
  for i, mask in enumerate(history[0].masks):
    for step in _update_steps('Prune'):
      progress = (step - 1) / 8
      sparsity = _SPARSITY * (1 - (1 - progress) ** 3)
      assert _count(history[step + 1].masks[i]) == _allowed(mask.size, sparsity)


@each_algorithm
def test_layers_have_the_sparsity_asked_for(name):
  run = _Run(name)
  expected = 0.0 if name == 'Dense' else _SPARSITY
  assert [layer.sparsity for layer in run.layers] == [expected] * 3


@each_algorithm
def test_masks_are_binary_and_change_on_update_steps_alone(name):
  history = _history(name)
  for step, (before, after) in enumerate(zip(history, history[1:])):
    for old, new in zip(before.masks, after.masks):
      assert set(np.unique(new)) <= {0.0, 1.0}
      if step not in _update_steps(name):
        np.testing.assert_array_equal(old, new)


@each_algorithm
def test_masks_change_where_they_should(name):
  history = _history(name)
  for i in range(3):
    changed = (history[0].masks[i] != history[-1].masks[i]).any()
    assert changed == _BY_NAME[name].changes_masks


@each_algorithm
@each_optimizer
def test_weights_off_the_mask_are_zero(name, inner, replace_gradient_step):
  history = _history(
    name, inner=inner, replace_gradient_step=replace_gradient_step
  )
  for snapshot in history:
    for mask, kernel in zip(snapshot.masks, snapshot.kernels):
      assert np.isfinite(kernel).all()
      assert (kernel[mask == 0] == 0).all()
  for before, after in zip(history[0].kernels, history[-1].kernels):
    lasting = (before != 0) & (after != 0)
    assert _mostly(before != after, lasting)  # And those on it are trained.


@each_algorithm
def test_same_seed_same_run(name):
  _assert_histories_equal(_Run(name).train(), _history(name))


@each_algorithm
def test_other_seed_other_masks(name):
  first, second = _history(name), _history(name, seed=1)
  for i in range(3):
    for a, b in ((first[0], second[0]), (first[-1], second[-1])):
      differ = (a.masks[i] != b.masks[i]).any()
      assert differ == (name not in _NOT_RANDOM)


@each_algorithm
@pytest.mark.parametrize('replace_gradient_step', [False, True])
def test_eager_equals_function(name, replace_gradient_step):
  # Gradients are given: TensorFlow fuses a graph's forward pass, which then
  # differs from the eager one in the last bit.
  histories = []
  for graph in (False, True):
    run = _Run(
      name, model=_one_layer, replace_gradient_step=replace_gradient_step
    )
    variables = run.model.trainable_variables

    def apply(gradients, run=run, variables=variables):
      run.optimizer.apply_gradients(zip(gradients, variables))

    step = tf.function(apply) if graph else apply
    history = [run.snapshot()]
    for i in range(_STEPS):
      rng = np.random.default_rng(i)
      step([tf.constant(rng.standard_normal(v.shape), v.dtype)
            for v in variables])  # fmt: skip
      history.append(run.snapshot())
    histories.append(history)
  _assert_histories_equal(*histories)


@each_drop_and_grow
def test_drop_fraction_zero_leaves_masks_alone(name):
  history = _history(name, drop_fraction=0.0)
  static = _history('Static')
  for snapshot in history[1:]:
    for before, after in zip(history[0].masks, snapshot.masks):
      np.testing.assert_array_equal(before, after)
  if not _BY_NAME[name].random_count:  # It has another first mask.
    # Slots off the mask are zeroed at an update: they touch no weight.
    for a, b in zip(history, static):
      np.testing.assert_array_equal(
        tf.nest.flatten([a.masks, a.kernels, a.biases])[0],
        tf.nest.flatten([b.masks, b.kernels, b.biases])[0],
      )


@functools.lru_cache(maxsize=None)
def _dense_history():
  """Plain training: no wrapper is initialized, and no SparseOptimizer."""
  model = _model()
  inner = _OPTIMIZERS['adam']()
  step = tf.function(functools.partial(_train_step, model, inner))
  history = []
  for i in range(_STEPS):
    step(*_batch(i))
    history.append([v.numpy() for v in model.trainable_variables])
  return history


@each_algorithm
def test_sparsity_zero_equals_dense_training(name):
  run = _Run(name, sparsity=0.0, graph=True)
  for step, expected in enumerate(_dense_history()):
    run.train([step])
    for variable, value in zip(
      run.model.trainable_variables, expected, strict=True
    ):
      np.testing.assert_array_equal(variable, value)
  assert all(layer.mask.numpy().all() for layer in run.layers)


def _grown(before, after, i):
  return (before.masks[i] == 0) & (after.masks[i] == 1)


@each_algorithm
@each_optimizer
def test_new_weights_and_slots_start_at_zero(
  name, inner, replace_gradient_step
):
  history = _history(
    name, inner=inner, replace_gradient_step=replace_gradient_step
  )
  num_grown = 0
  for step in _update_steps(name):
    before, after = history[step], history[step + 1]
    for i in range(3):
      grown = _grown(before, after, i)
      num_grown += grown.sum()
      assert (after.kernels[i][grown] == 0).all()
      lasting = (before.masks[i] == 1) & (after.masks[i] == 1)
      assert len(after.slots[i]) == (2 if inner.startswith('adam') else 1)
      for slot in after.slots[i]:
        assert (slot[grown] == 0).all()
        assert _mostly(slot != 0, lasting)
  assert (num_grown > 0) == (name in _DROP_AND_GROW)


@each_drop_and_grow
def test_new_weights_learn_at_once(name):
  history = _history(name)
  update = _UPDATES[0]
  grown = _grown(history[update], history[update + 1], 2)
  assert _mostly(history[update + 2].kernels[2] != 0, grown)


@each_algorithm
def test_lasting_weights_take_the_gradient_step_too(name):
  history = _history(name)
  for step in _update_steps(name):
    before, after = history[step], history[step + 1]
    for i in range(3):
      lasting = (before.masks[i] == 1) & (after.masks[i] == 1)
      assert _mostly(before.kernels[i] != after.kernels[i], lasting)


@each_algorithm
def test_replaced_gradient_steps_are_those_that_grow_by_gradient(name):
  history = _history(name, replace_gradient_step=True)
  for step, (before, after) in enumerate(zip(history, history[1:])):
    replaced = (
      step in _update_steps(name) and _BY_NAME[name].needs_dense_gradient
    )
    for i in range(3):
      unchanged = (before.biases[i] == after.biases[i]).all()
      assert unchanged == replaced
      kept = (before.masks[i] == 1) & (after.masks[i] == 1)
      unchanged = (before.kernels[i] == after.kernels[i])[kept].all()
      assert unchanged == replaced


@each_algorithm
@pytest.mark.parametrize('graph', [False, True])
def test_checkpoint_continues_bit_for_bit(name, graph, tmp_path):
  # Of the two, the graph is the one that takes time.
  model = _one_layer if graph else _model
  run = _Run(name, model=model, graph=graph)
  run.train(range(6))
  checkpoint = tf.train.Checkpoint(model=run.model, optimizer=run.optimizer)
  path = checkpoint.write(str(tmp_path / 'checkpoint'))

  resumed = _Run(name, model=model, model_seed=1, seed=1, graph=graph)
  if graph:  # Restored at once, rather than when the first step makes them.
    resumed.optimizer.create_slots(resumed.model.trainable_variables)
  status = tf.train.Checkpoint(
    model=resumed.model, optimizer=resumed.optimizer
  ).read(path)
  history = resumed.train(range(6, _STEPS))
  status.assert_consumed()
  assert int(resumed.optimizer.step) == _STEPS
  assert int(run.optimizer.step) == 6
  _assert_histories_equal(history[1:], run.train(range(6, _STEPS))[1:])
