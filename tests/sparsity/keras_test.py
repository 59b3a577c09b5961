"""A user's own Keras model, made sparse and trained as Keras models are."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import algorithms, optimizer, schedules, wrappers

_EXAMPLES, _BATCH = 96, 16
_STEPS_PER_EPOCH = _EXAMPLES // _BATCH


def _data():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(_EXAMPLES, 12)).astype(np.float32)
  return x, (x[:, :3] ** 2).argmax(axis=1)


def _model(algorithm=None, inner=None, seed=0, dropout=0.1, **schedule):
  """Returns a compiled model and its sparse layers."""
  tf.keras.utils.set_random_seed(seed)
  model = tf.keras.Sequential(
    [
      tf.keras.Input((12,)),
      tf.keras.layers.Dense(32, activation='relu'),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Dropout(dropout),
      tf.keras.layers.Dense(3),
    ]
  )
  layers = wrappers.sparsify(
    model, sparsity=0.8, algorithm=algorithm or algorithms.SET(0.5), seed=seed
  )
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.Adam(0.01) if inner is None else inner,
    layers,
    schedule=schedules.UpdateSchedule(30, interval=4, **schedule),
  )
  model.compile(
    sparse,
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy', tf.keras.metrics.SparseTopKCategoricalAccuracy(2)],
  )
  return model, layers


def _masks(layers):
  return [layer.mask.numpy() for layer in layers]


class _Watch(tf.keras.callbacks.Callback):
  """Looks at the masks after every batch."""

  def __init__(self, layers):
    super().__init__()
    self._layers = layers
    self._counts = [np.count_nonzero(mask) for mask in _masks(layers)]
    self.masks = [_masks(layers)]

  def on_train_batch_end(self, batch, logs=None):
    masks = _masks(self._layers)
    assert [np.count_nonzero(mask) for mask in masks] == self._counts
    for layer, mask in zip(self._layers, masks):
      # Those that have just grown are zero too.
      assert not layer.kernel.numpy()[mask == 0].any()
    self.masks.append(masks)

  def moved(self):
    """Returns the steps, counted from 0, at which a mask changed."""
    pairs = zip(self.masks, self.masks[1:])
    return [
      step
      for step, (before, after) in enumerate(pairs)
      if any((a != b).any() for a, b in zip(before, after))
    ]


@pytest.mark.parametrize(
  'make',
  [
    tf.keras.optimizers.Adam,
    lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0),
    tf.keras.optimizers.AdamW,
    tf.keras.optimizers.legacy.Adam,
    tf.compat.v1.train.AdamOptimizer,
  ],
)
def test_fit_keeps_masks_in_every_step(make):
  x, y = _data()
  model, layers = _model(algorithms.RigL(0.5), make())
  watch = _Watch(layers)
  history = model.fit(x, y, _BATCH, 3, verbose=0, callbacks=[watch])
  assert len(history.history['accuracy']) == 3
  # Of 30 steps 80 % may move masks; 18 have been taken.
  assert set(watch.moved()) <= {0, 4, 8, 12, 16}
  assert len(watch.moved()) >= 3
  assert int(model.optimizer.step) == 3 * _STEPS_PER_EPOCH
  # A second call goes on where the first one was.
  model.fit(x, y, _BATCH, 1, verbose=0, callbacks=[watch])
  assert int(model.optimizer.iterations) == 4 * _STEPS_PER_EPOCH
  assert set(watch.moved()[3:]) <= {12, 16, 20}
  for layer in layers:
    for slot in model.optimizer.inner.variables():
      if slot.shape == layer.kernel.shape:
        assert not slot.numpy()[layer.mask.numpy() == 0].any()


@pytest.mark.parametrize(
  'options', [{'steps_per_execution': 3}, {'run_eagerly': True}]
)
def test_fit_is_a_plain_loop(options):
  x, y = _data()
  model, layers = _model(algorithms.RigL(0.5), dropout=0.0)
  model.compile(model.optimizer, model.loss, ['accuracy'], **options)
  model.fit(x, y, _BATCH, 2, shuffle=False, verbose=0)

  other, own_layers = _model(algorithms.RigL(0.5), dropout=0.0)

  @tf.function
  def train_step(points, labels):
    with tf.GradientTape() as tape:
      loss = other.loss(labels, other(points, training=True))
    gradients = tape.gradient(loss, other.trainable_variables)
    other.optimizer.apply_gradients(zip(gradients, other.trainable_variables))

  for start in 2 * list(range(0, _EXAMPLES, _BATCH)):
    train_step(x[start : start + _BATCH], y[start : start + _BATCH])
  assert int(other.optimizer.step) == int(model.optimizer.step) == 12
  for layer, own in zip(layers, own_layers):
    np.testing.assert_array_equal(layer.mask, own.mask)
    np.testing.assert_allclose(layer.kernel, own.kernel, rtol=1e-4, atol=1e-6)


def test_masks_move_where_they_replace_the_gradient_step():
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(8))
  layer.build((None, 8))
  layer.initialize(0.5, algorithms.RigL(0.5), seed=0)
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.Adam(),
    [layer],
    total_steps=10,
    replace_gradient_step=True,
  )
  before = layer.mask.numpy()

  @tf.function
  def step():
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(tf.ones((1, 8))) ** 2)
    variables = layer.trainable_variables
    sparse.apply_gradients(zip(tape.gradient(loss, variables), variables))

  step()
  assert (layer.mask.numpy() != before).any()
  step()
  assert not layer.kernel.numpy()[layer.mask.numpy() == 0].any()


@pytest.mark.parametrize(
  'make', [tf.keras.optimizers.Adam, tf.keras.optimizers.legacy.Adam]
)
def test_callbacks_set_the_learning_rate(make):
  x, y = _data()
  model, _ = _model(inner=make(0.01))
  callback = tf.keras.callbacks.LearningRateScheduler(
    lambda epoch: 0.5 / 2**epoch
  )
  history = model.fit(x, y, _BATCH, 2, verbose=0, callbacks=[callback])
  assert float(model.optimizer.inner.learning_rate) == 0.25
  assert history.history['lr'] == [0.5, 0.25]
  model.optimizer.lr = 0.125
  assert float(model.optimizer.learning_rate) == 0.125


def test_a_checkpoint_holds_masks_slots_and_steps(tmp_path):
  x, y = _data()
  model, layers = _model(dropout=0.0)
  model.fit(x, y, _BATCH, 1, shuffle=False, verbose=0)
  path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(
    str(tmp_path / 'checkpoint')
  )
  other, own_layers = _model(seed=1, dropout=0.0)
  status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).read(
    path
  )
  for each in (model, other):
    each.fit(x, y, _BATCH, 1, shuffle=False, verbose=0)
  status.assert_consumed()
  assert int(other.optimizer.step) == 2 * _STEPS_PER_EPOCH
  for layer, own in zip(layers, own_layers):
    np.testing.assert_array_equal(layer.mask, own.mask)
    np.testing.assert_allclose(layer.kernel, own.kernel, rtol=1e-5, atol=1e-7)


def test_a_whole_model_is_refused_in_one_line(tmp_path, user_error):
  x, y = _data()
  model, _ = _model()
  model.fit(x, y, _BATCH, 1, verbose=0)
  with user_error('SparseOptimizer', 'save_weights', 'tf.train.Checkpoint'):
    model.save(str(tmp_path / 'model.keras'))
  model.save_weights(str(tmp_path / 'model.weights.h5'))


def test_a_frozen_layer_is_one_line(user_error):
  x, y = _data()
  model, layers = _model()
  model.layers[0].trainable = False
  model.compile(model.optimizer, model.loss, run_eagerly=True)
  with user_error(layers[0].name, 'SET', 'sparsify.keep_dense'):
    model.fit(x, y, _BATCH, 1, verbose=0)


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_model_is_made_sparse_once(wrapped, user_error):
  layer = tf.keras.layers.Dense(8, name='only')
  model = tf.keras.Sequential(
    [wrappers.SparseWrapper(layer) if wrapped else layer], name='twice'
  )
  model.build((None, 8))
  wrappers.sparsify(model, sparsity=0.5)
  before = model.get_weights()
  with user_error('sparsify.model', "'twice'", 'only', 'build the model again'):
    wrappers.sparsify(model, sparsity=0.5)
  for array, old in zip(model.get_weights(), before):
    np.testing.assert_array_equal(array, old)


def test_the_summary_counts_masks_as_not_trained(capsys):
  model, _ = _model()
  model.summary()
  text = capsys.readouterr().out
  # 12 × 32 + 32 and 32 × 3 + 3 weights, 2 × 32 of the normalization.
  assert 'Trainable params: 579' in text
  assert 'Non-trainable params: 544' in text  # Masks, moving averages.
