"""Short training runs of every sparse algorithm."""

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

ALGORITHMS = [
  cls
  for cls in (getattr(algorithms, name) for name in algorithms.__all__)
  if issubclass(cls, algorithms.SparseAlgorithm)
  and cls is not algorithms.SparseAlgorithm
]
BY_NAME = {cls.__name__: cls for cls in ALGORITHMS}


def has_drop_fraction(cls):
  return 'drop_fraction' in inspect.signature(cls.__init__).parameters


DROP_AND_GROW = [cls.__name__ for cls in ALGORITHMS if has_drop_fraction(cls)]
OPTIMIZERS = {
  'adam': lambda: tf.keras.optimizers.legacy.Adam(0.01),
  'sgd': lambda: tf.keras.optimizers.legacy.SGD(0.05, momentum=0.9),
  'rmsprop': lambda: tf.keras.optimizers.legacy.RMSprop(0.01),
}
SPARSITY = 0.55
STEPS = 12
# The window, 1 to 9, ends off the interval.
UPDATES = (1, 4, 7)
WINDOW_END = 9


def make_schedule():
  return schedules.UpdateSchedule(STEPS, begin=0.1, end=0.75, interval=3)


def update_steps(name):
  """The steps at which an algorithm's masks change."""
  at_end = BY_NAME[name].updates_at_window_end
  return UPDATES + ((WINDOW_END,) if at_end else ())


def one_layer(seed=0):
  """A single dense layer: less to trace."""
  initializer = tf.keras.initializers.GlorotUniform(seed=seed)
  layer = tf.keras.layers.Dense(3, kernel_initializer=initializer)
  model = tf.keras.Sequential([tf.keras.layers.Flatten(), layer])
  model.build((None, 4, 4, 2))
  return model


def three_layers(seed=0):
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


def batch_of(step):
  rng = np.random.default_rng(step)
  inputs = rng.standard_normal((6, 4, 4, 2)).astype(np.float32)
  return tf.constant(inputs), tf.constant(inputs[:, :3, 0, 0] * 2)


@dataclasses.dataclass
class Snapshot:
  """All of a network's state, per layer, as NumPy arrays."""

  masks: list
  kernels: list
  biases: list
  slots: list  # Per layer a list, by slot name.


class Run:
  """A network in training."""

  def __init__(
    self,
    name,
    sparsity=SPARSITY,
    drop_fraction=0.5,
    seed=0,
    growth_seed=0,
    model=three_layers,
    model_seed=0,
    inner='adam',
    replace_gradient_step=False,
    graph=False,
  ):
    cls = BY_NAME[name]
    kwargs = {'drop_fraction': drop_fraction} if has_drop_fraction(cls) else {}
    self.model = model(model_seed)
    self.layers = wrappers.sparsify(
      self.model,
      distribution=distributions.uniform,
      sparsity=sparsity,
      algorithm=cls(**kwargs),
      initializer=initializers.sparsity_aware,
      seed=seed,
    )
    self.inner = OPTIMIZERS[inner]()
    self.optimizer = optimizer.SparseOptimizer(
      self.inner,
      self.layers,
      mask_updater.MaskUpdater(self.layers, make_schedule(), growth_seed),
      replace_gradient_step=replace_gradient_step,
    )
    self._step = tf.function(self._train) if graph else self._train

  def _train(self, inputs, targets):
    train_step(self.model, self.optimizer, inputs, targets)

  def train(self, steps=range(STEPS)):
    """Returns the state before training and after each step."""
    history = [self.snapshot()]
    for step in steps:
      self._step(*batch_of(step))
      history.append(self.snapshot())
    return history

  def snapshot(self):
    names = self.inner.get_slot_names()

    def slots(layer):
      return [self.inner.get_slot(layer.kernel, n).numpy() for n in names]

    return Snapshot(
      masks=[layer.mask.numpy() for layer in self.layers],
      kernels=[layer.kernel.numpy() for layer in self.layers],
      biases=[layer.bias.numpy() for layer in self.layers],
      slots=[slots(layer) for layer in self.layers],
    )


def train_step(model, optimizer_, inputs, targets):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(inputs) - targets) ** 2)
  variables = model.trainable_variables
  gradients = tape.gradient(loss, variables)
  optimizer_.apply_gradients(zip(gradients, variables))


@functools.lru_cache(maxsize=None)
def history_of(name, **kwargs):
  return Run(name, **kwargs).train()


def assert_equal(first, second):
  """Bit for bit."""
  for field in dataclasses.fields(Snapshot):
    a, b = getattr(first, field.name), getattr(second, field.name)
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
      np.testing.assert_array_equal(x, y, err_msg=field.name)


def assert_histories_equal(first, second):
  for a, b in zip(first, second, strict=True):
    assert_equal(a, b)


def count_active(mask):
  return int(mask.sum())


def mostly(values, where):
  """Few units have no active output, and so no gradient."""
  return where.any() and values[where].mean() > 0.5


each_algorithm = pytest.mark.parametrize('name', BY_NAME)
each_drop_and_grow = pytest.mark.parametrize('name', DROP_AND_GROW)
each_optimizer = pytest.mark.parametrize(
  ('inner', 'replace_gradient_step'),
  [('adam', False), ('adam', True), ('sgd', False), ('rmsprop', False)],
)
