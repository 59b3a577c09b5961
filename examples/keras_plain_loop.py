"""A Keras classifier made sparse, trained in a custom loop.

python examples/keras_plain_loop.py
"""

import numpy as np
import tensorflow as tf

import rigl_rl

STEPS = 600


def make_data(rng, examples=4096, features=64, classes=10):
  """Returns noisy points around one center per class."""
  centers = rng.normal(size=(classes, features))
  labels = rng.integers(classes, size=examples)
  points = centers[labels] + 1.5 * rng.normal(size=(examples, features))
  return points.astype(np.float32), labels


def main():
  rng = np.random.default_rng(0)
  x, y = make_data(rng)
  tf.keras.utils.set_random_seed(0)
  model = tf.keras.Sequential(
    [
      tf.keras.Input(x.shape[1:]),
      tf.keras.layers.Dense(256, activation='relu'),
      tf.keras.layers.Dense(256, activation='relu'),
      tf.keras.layers.Dense(10),
    ]
  )
  loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

  # 90 % of all weights are zero, and RigL moves the others every 50 steps.
  layers = rigl_rl.sparsify(model, sparsity=0.9, algorithm=rigl_rl.RigL())
  optimizer = rigl_rl.make_sparse_optimizer(
    tf.keras.optimizers.Adam(1e-3),
    layers,
    schedule=rigl_rl.UpdateSchedule(STEPS, interval=50),
  )

  @tf.function
  def train_step(points, labels):
    with tf.GradientTape() as tape:
      loss = loss_fn(labels, model(points, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

  for step in range(1, STEPS + 1):
    batch = rng.integers(len(x), size=128)
    loss = train_step(x[batch], y[batch])
    if step % 200 == 0:
      print(f'step {step}: loss {loss:.3f}')

  kernels = [layer.kernel.numpy() for layer in layers]
  zeros = sum((kernel == 0).sum() for kernel in kernels)
  size = sum(kernel.size for kernel in kernels)
  accuracy = (model(x).numpy().argmax(axis=1) == y).mean()
  print(f'{zeros / size:.1%} of {size:,} weights are zero')
  print(f'accuracy {accuracy:.1%}')


if __name__ == '__main__':
  main()
