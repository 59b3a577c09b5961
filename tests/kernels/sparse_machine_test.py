"""Tests that sparse layers do not depend on threads, and stay in registers."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from helpers import sparse_layers

ROOT = pathlib.Path(__file__).resolve().parents[2]


# What is computed with each kind of instructions, and numbers of threads, by a
# child of its own: those are read once in a process. TensorFlow is imported but
# once, since no thread of its own runs before the first operation.
_PROGRAM = """
import multiprocessing, os, sys
from rigl_rl import quiet
quiet.silence()
import numpy as np
import tensorflow as tf
from rigl_rl.kernels import loader

# Beside small layers, some whose work is shared among threads: by examples,
# and by rows.
CASES = [((5, 40, 30, 2), 17, .5), ((5, 40, 30, 2), 257, .5),
         ((250, 260, 9), 400, .5), ((330, 320), 127, .8),
         ((630, 620), 31, .9), ((230, 207, 5), 31, 1)]
# Image, window, filters, strides and batch of convolutions.
CONVOLUTIONS = [([9, 20, 3], [3, 4], 5, [1, 2], 5),
                ([23, 23, 16], [3, 3], 32, [1, 1], 40)]

def compute(simd, threads, team, path):
  os.environ['RIGL_RL_SIMD'] = simd
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  operations = loader.load()
  # Those that the processor lacks are replaced.
  assert loader.instructions() == simd or simd != 'portable'
  found = []
  for units, batch, density in CASES:
    for is_exact in (True, False):
      rng = np.random.default_rng(0)
      def draw(*shape):
        number = rng.standard_normal(shape).astype(np.float32)
        return np.round(2 * number) if is_exact else number
      layers = []
      for shape in zip(units, units[1:]):
        mask = np.float32(rng.random(shape) < density)
        structure = operations.rigl_sparse_structure(
          mask=mask, capacity=int(mask.sum()))
        layers.append((tf.constant(draw(int(mask.sum()))), structure,
                       tf.constant(draw(shape[1]))))
      values, structures, biases = zip(*layers)
      x = tf.constant(draw(batch, units[0]))
      activation = 'relu' if is_exact else 'tanh'
      dy = tf.constant(draw(batch, units[-1]))
      @tf.function(autograph=False)
      def value_and_gradients():
        with tf.GradientTape() as tape:
          tape.watch([x, *values, *biases])
          y = operations.rigl_sparse_chain(
            x=x, values=values, structure=structures, bias=biases,
            units=list(units), activations=[activation] * len(values)).y
        return [y, *tf.nest.flatten(tape.gradient(y, (x, values, biases), dy))]
      function = value_and_gradients.get_concrete_function()
      captures = operations.rigl_captures(tensors=function.captured_inputs)
      for _ in range(20):  # Who takes which part is not the same every time.
        found += operations.rigl_call(
          captures=captures, arguments=[], f=function, threads=team,
          Tout=[output.dtype for output in function.outputs],
        ) if team else function()
  for image, window, filters, strides, batch in CONVOLUTIONS:
    for is_exact in (True, False):
      rng = np.random.default_rng(0)
      mask = np.float32(rng.random((*window, image[-1], filters)) < .3)
      layer = {
        'x': tf.constant(draw(batch, *image)),
        'values': tf.constant(draw(int(mask.sum()))),
        'structure': operations.rigl_sparse_structure(
          mask=mask, capacity=int(mask.sum())),
        'bias': tf.constant(draw(filters)),
      }
      activation = 'relu' if is_exact else 'tanh'
      outputs = [-(-side // stride) for side, stride in zip(image, strides)]
      dy = tf.constant(draw(batch, *outputs, filters))
      for _ in range(3):
        with tf.GradientTape() as tape:
          tape.watch([layer['x'], layer['values'], layer['bias']])
          y = operations.rigl_sparse_convolution(
            **layer, image=image, window=window, filters=filters,
            strides=strides, padding='SAME', activation=activation).y
        found += [y, *tape.gradient(
          y, [layer['x'], layer['values'], layer['bias']], dy)]
  np.savez(path, *[tensor.numpy() for tensor in found])

loader.load()
context = multiprocessing.get_context('fork')
for path in sys.argv[1:]:
  simd, *numbers = os.path.basename(path)[:-len('.npz')].split('-')
  child = context.Process(
    target=compute, args=(simd, *map(int, numbers), path))
  child.start()
  child.join()
  assert child.exitcode == 0, (path, child.exitcode)
"""


@pytest.fixture(scope='module')
def computed(operations, tmp_path_factory):
  """What was computed, by instructions, and threads of TensorFlow and a team.

  On a processor that lacks instructions, those of the next best are used.
  """
  directory = tmp_path_factory.mktemp('computed')
  threads = ((1, 0), (2, 0), (1, 1), (1, 3))
  keys = [
    (simd, *numbers)
    for simd in ('avx512', 'avx2', 'portable')
    for numbers in threads
  ]
  paths = [directory / f'{"-".join(map(str, key))}.npz' for key in keys]
  subprocess.run(
    [sys.executable, '-c', _PROGRAM, *map(str, paths)],
    check=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  results = {}
  for key, path in zip(keys, paths):
    with np.load(path) as arrays:
      results[key] = list(arrays.values())
  return results


@pytest.mark.parametrize('simd', ['avx512', 'avx2', 'portable'])
@pytest.mark.parametrize('threads', [(2, 0), (1, 1), (1, 3)])
def test_numbers_do_not_depend_on_threads(computed, simd, threads):
  expected = computed[simd, 1, 0]
  found = computed[(simd, *threads)]
  assert len(found) == len(expected)
  for one, other in zip(expected, found):
    np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))


@pytest.mark.parametrize('simd', ['avx2', 'portable'])
def test_instructions_differ_by_rounding(computed, simd):
  for one, other in zip(computed[simd, 1, 0], computed['avx512', 1, 0]):
    sparse_layers.assert_alike(one, other, 2e-5)
    if np.all(one == np.round(one)):
      np.testing.assert_array_equal(one, other)
  exact = [np.all(one == np.round(one)) for one in computed[simd, 1, 0]]
  assert sum(exact) >= len(exact) // 2


# The least time that a layer took, forward and input gradient, in seconds.
_TIMING = """
import time
from rigl_rl import quiet
quiet.silence()
quiet.configure_threads(intra=1, inter=1)
import numpy as np
import tensorflow as tf
from rigl_rl.kernels import loader

operations = loader.load()
rng = np.random.default_rng(0)
mask = np.float32(rng.random((512, 512)) < 0.1)
capacity = int(mask.sum())
layer = {
  'values': [tf.ones(capacity)],
  'structure': [
    operations.rigl_sparse_structure(mask=mask, capacity=capacity)],
  'bias': [tf.zeros(512)],
  'units': [512, 512],
  'activations': ['relu'],
}
x = tf.constant(rng.random((128, 512)), tf.float32)
times = []
for _ in range(50):
  begin = time.perf_counter()
  y, saved = operations.rigl_sparse_chain(x=x, **layer)
  operations.rigl_sparse_chain_input_gradient(dy=y, saved=saved, **layer)
  times.append(time.perf_counter() - begin)
print(min(times))
"""


@pytest.mark.slow
def test_no_instructions_go_through_memory(operations):
  """Compilers let vectors that are wider than a register do so, silently.

  Then this takes ten times as long as with AVX-512, instead of one to three.
  """
  seconds = [
    float(
      subprocess.run(
        [sys.executable, '-c', _TIMING],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'RIGL_RL_SIMD': simd},
      ).stdout
    )
    for simd in ('avx512', 'avx2', 'portable')
  ]
  assert max(seconds) < 6 * min(seconds)
