"""A Keras classifier made sparse, trained by `model.fit`.

python examples/keras_fit.py
"""

import tempfile

import numpy as np
import tensorflow as tf

import rigl_rl

EPOCHS, BATCH_SIZE = 5, 128


def make_data(rng, examples=4096, features=64, classes=10):
  """Returns noisy points around one center per class."""
  centers = rng.normal(size=(classes, features))
  labels = rng.integers(classes, size=examples)
  points = centers[labels] + 1.5 * rng.normal(size=(examples, features))
  return points.astype(np.float32), labels


def make_sparse_model(seed, total_steps):
  """Returns a compiled model, of which 90 % of the weights are zero."""
  tf.keras.utils.set_random_seed(seed)
  model = tf.keras.Sequential(
    [
      tf.keras.Input((64,)),
      tf.keras.layers.Dense(256, activation='relu', name='hidden1'),
      tf.keras.layers.Dense(256, activation='relu', name='hidden2'),
      tf.keras.layers.Dense(10, name='output'),
    ]
  )
  layers = rigl_rl.sparsify(
    model,
    distribution=rigl_rl.uniform,
    sparsity=0.9,
    algorithm=rigl_rl.SET(),
    keep_dense='output',
    seed=seed,
  )
  optimizer = rigl_rl.make_sparse_optimizer(
    tf.keras.optimizers.Adam(1e-3),
    layers,
    schedule=rigl_rl.UpdateSchedule(total_steps, interval=20),
  )
  model.compile(
    optimizer,
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )
  return model, layers


def main():
  x, y = make_data(np.random.default_rng(0))
  total_steps = EPOCHS * -(-len(x) // BATCH_SIZE)
  model, layers = make_sparse_model(seed=0, total_steps=total_steps)
  # `steps_per_execution` and callbacks work as with any optimizer.
  model.fit(x, y, BATCH_SIZE, EPOCHS, validation_split=0.1, verbose=2)
  for layer in layers:
    zeros = (layer.kernel.numpy() == 0).mean()
    print(f'{layer.name}: {zeros:.1%} of {tuple(layer.kernel.shape)} are zero')

  # Weights are saved with their masks; a model built the same way loads them.
  with tempfile.TemporaryDirectory() as directory:
    path = f'{directory}/model.weights.h5'
    model.save_weights(path)
    loaded, _ = make_sparse_model(seed=1, total_steps=total_steps)
    loaded.load_weights(path)
  same = np.array_equal(
    model.predict(x, verbose=0), loaded.predict(x, verbose=0)
  )
  print(f'loaded weights predict the same: {same}')


if __name__ == '__main__':
  main()
