"""A Keras classifier made sparse, trained by `model.fit`, saved and loaded.

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


def compile_sparse(model, total_steps):
  """Compiles a model that is sparse; SET moves its weights every 20 steps."""
  optimizer = rigl_rl.make_sparse_optimizer(
    tf.keras.optimizers.Adam(1e-3),
    rigl_rl.sparse_layers(model),
    schedule=rigl_rl.UpdateSchedule(total_steps, interval=20),
  )
  model.compile(
    optimizer,
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )


def print_zeros(model):
  for layer in rigl_rl.sparse_layers(model):
    zeros = (layer.kernel.numpy() == 0).mean()
    print(f'{layer.name}: {zeros:.1%} of {tuple(layer.kernel.shape)} are zero')


def main():
  x, y = make_data(np.random.default_rng(0))
  total_steps = EPOCHS * -(-len(x) // BATCH_SIZE)
  tf.keras.utils.set_random_seed(0)
  model = tf.keras.Sequential(
    [
      tf.keras.Input((64,)),
      tf.keras.layers.Dense(256, activation='relu', name='hidden1'),
      tf.keras.layers.Dense(256, activation='relu', name='hidden2'),
      tf.keras.layers.Dense(10, name='output'),
    ]
  )
  rigl_rl.sparsify(
    model,
    distribution=rigl_rl.uniform,
    sparsity=0.9,
    algorithm=rigl_rl.SET(),
    keep_dense='output',
  )
  compile_sparse(model, total_steps)
  model.fit(x, y, BATCH_SIZE, EPOCHS, validation_split=0.1, verbose=2)
  print_zeros(model)

  # The masks are part of the model, also in an '.h5' file or a SavedModel.
  with tempfile.TemporaryDirectory() as directory:
    model.save(f'{directory}/model.keras')
    loaded = rigl_rl.load_model(f'{directory}/model.keras')
  same = np.array_equal(model(x), loaded(x))
  print(f'the loaded model predicts the same: {same}')
  compile_sparse(loaded, total_steps)
  loaded.fit(x, y, BATCH_SIZE, 1, verbose=2)
  print_zeros(loaded)


if __name__ == '__main__':
  main()
