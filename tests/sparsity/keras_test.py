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
  # A second call continues from the first.
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


def _zeros(layers):
  """Returns the masks, after a look that all other weights are zero."""
  for layer in layers:
    assert not layer.kernel.numpy()[layer.mask.numpy() == 0].any()
  return _masks(layers)


_PLAIN = [
  tf.keras.optimizers.Adam,
  tf.keras.optimizers.legacy.Adam,
  lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
  tf.compat.v1.train.AdamOptimizer,
]


@pytest.mark.parametrize('make', _PLAIN)
def test_another_optimizer_keeps_masks_that_do_not_change(make):
  x, y = _data()
  model, layers = _model(algorithms.Static())
  before = _zeros(layers)
  kernel = layers[0].kernel.numpy()
  model.compile(make(), model.loss)
  model.fit(x, y, _BATCH, 3, verbose=0)
  for mask, old in zip(_zeros(layers), before):
    np.testing.assert_array_equal(mask, old)
    assert 0.1 < mask.mean() < 0.5 or mask.mean() == 1
  assert (layers[0].kernel.numpy() != kernel).any()


@pytest.mark.parametrize('make', _PLAIN)
@pytest.mark.parametrize('algorithm', [algorithms.RigL(), algorithms.Prune()])
def test_another_optimizer_is_refused_where_masks_change(
  make, algorithm, user_error
):
  x, y = _data()
  model, layers = _model(algorithm)
  model.compile(make(), model.loss, run_eagerly=True)
  with user_error(type(algorithm).__name__, 'make_sparse_optimizer', 'Static'):
    model.fit(x, y, _BATCH, 1, verbose=0)
  model.compile(make(), model.loss)
  with pytest.raises(Exception, match='make_sparse_optimizer'):
    model.fit(x, y, _BATCH, 1, verbose=0)


def test_a_constraint_of_the_users_own_holds_beside_the_mask():
  layer = tf.keras.layers.Dense(8, kernel_constraint='non_neg')
  model = tf.keras.Sequential([tf.keras.Input((8,)), layer])
  layers = wrappers.sparsify(
    model, sparsity=0.5, algorithm=algorithms.Static(), seed=1
  )
  schedule = schedules.UpdateSchedule(10)
  x, y = np.eye(8, dtype=np.float32), -np.ones((8, 8), np.float32)
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.SGD(0.5), layers, schedule=schedule
  )
  for each in (tf.keras.optimizers.SGD(0.5), sparse):
    layer.kernel.assign(layers[0].mask)
    model.compile(each, 'mse')
    model.fit(x, y, 8, 1, verbose=0)
    _zeros(layers)
    assert (layer.kernel.numpy() >= 0).all()
    assert layer.kernel.numpy().max() < 1


@pytest.mark.filterwarnings('ignore:You are saving your model as an HDF5')
@pytest.mark.parametrize('form', ['.keras', '.h5', ''])
@pytest.mark.parametrize(
  'algorithm', [algorithms.Static(), algorithms.SET(0.5)]
)
@pytest.mark.parametrize('legacy', [False, True])
def test_a_saved_model_keeps_its_masks(form, algorithm, legacy, tmp_path):
  x, y = _data()
  inner = tf.keras.optimizers.legacy.Adam(0.01) if legacy else None
  model, layers = _model(algorithm, inner)
  model.fit(x, y, _BATCH, 1, verbose=0)
  path = str(tmp_path / 'model') + form
  model.save(path)
  loaded = optimizer.load_model(path)
  loaded_layers = wrappers.sparse_layers(loaded)
  for layer, own in zip(layers, loaded_layers, strict=True):
    np.testing.assert_array_equal(layer.mask, own.mask)
    np.testing.assert_array_equal(layer.kernel, own.kernel)
    assert own.sparsity == layer.sparsity > 0
    assert type(own.algorithm) is type(algorithm)
    assert vars(own.algorithm) == vars(algorithm)
  np.testing.assert_array_equal(
    model.predict(x, verbose=0), loaded.predict(x, verbose=0)
  )
  # It trains as it was compiled, if that keeps the masks,
  before = _zeros(loaded_layers)
  if algorithm.changes_masks:
    with pytest.raises(Exception, match='SET .* make_sparse_optimizer'):
      loaded.fit(x, y, _BATCH, 1, verbose=0)
  else:
    loaded.fit(x, y, _BATCH, 1, verbose=0)
  for mask, old in zip(_zeros(loaded_layers), before):
    np.testing.assert_array_equal(mask, old)
  # or continues as the first one did.
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.Adam(),
    loaded_layers,
    schedule=schedules.UpdateSchedule(30, interval=4),
  )
  loaded.compile(sparse, model.loss)
  watch = _Watch(loaded_layers)
  loaded.fit(x, y, _BATCH, 3, verbose=0, callbacks=[watch])
  assert bool(watch.moved()) == algorithm.changes_masks


@pytest.mark.parametrize('form', ['.weights.h5', '.h5', ''])
def test_saved_weights_keep_masks(form, tmp_path):
  x, y = _data()
  model, layers = _model()
  model.fit(x, y, _BATCH, 1, verbose=0)
  path = str(tmp_path / 'saved') + form
  model.save_weights(path)
  other, own_layers = _model(seed=1)
  other.load_weights(path)
  for layer, own in zip(layers, own_layers):
    np.testing.assert_array_equal(layer.mask, own.mask)
    np.testing.assert_array_equal(layer.kernel, own.kernel)


def test_an_algorithm_that_cannot_be_loaded_is_named():
  model, _ = _model()
  text = model.to_json().replace('algorithms.set.SET', 'algorithms.gone.Gone')
  with pytest.raises(TypeError, match='gone.Gone, which must be imported'):
    tf.keras.models.model_from_json(text)


def test_a_clone_is_dense_and_may_be_made_sparse():
  model, layers = _model()
  clone = tf.keras.models.clone_model(model)
  assert all(
    layer.mask.numpy().all() for layer in wrappers.sparse_layers(clone)
  )
  for layer, own in zip(layers, wrappers.sparsify(clone, sparsity=0.8)):
    np.testing.assert_array_equal(layer.mask, own.mask)
  clone.set_weights(model.get_weights())
  for layer, own in zip(layers, wrappers.sparse_layers(clone)):
    np.testing.assert_array_equal(layer.kernel, own.kernel)


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
