"""Tests of sparse layers as operations: against TensorFlow's dense layers.

Most numbers are small integers, whose sums are exact in any order: so values
and gradients must be equal, and no rounding decides where a ReLU is 0.
"""

import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of inputs and of layers' outputs.
UNITS = [
  (1, 1),
  (1, 7),
  (7, 1),
  (33, 17),
  (300, 40),
  (23, 64, 1),
  (5, 16, 15, 33, 2),
]
# Not only multiples of a vector's 16 examples; up to three blocks of 128.
BATCHES = [0, 1, 3, 16, 17, 127, 128, 129, 257]
DENSITIES = [0.0, 0.05, 0.4, 1.0]
REFUSALS = (ValueError, tf.errors.InvalidArgumentError)


def integers(rng, shape, largest):
  return rng.integers(-largest, largest + 1, shape).astype(np.float32)


class Chain:
  """Layers, stored both ways."""

  def __init__(
    self,
    operations,
    rng,
    units,
    density,
    activation,
    biased,
    room=0,
    is_exact=True,
  ):
    self.operations = operations
    self.units = units
    count = len(units) - 1
    self.activations = [activation] * count
    self.masks, self.kernels = [], []
    for shape in zip(units, units[1:]):
      mask = (rng.random(shape) < density).astype(np.float32)
      if density < 1:  # An input, and an output, without any weight.
        mask[rng.integers(shape[0])] = 0
        mask[:, rng.integers(shape[1])] = 0
      self.masks.append(mask)
      if is_exact:
        kernel = integers(rng, shape, 2)
      else:
        kernel = 0.3 * rng.standard_normal(shape)
      self.kernels.append(np.float32(kernel * mask))
    self.biases = [
      tf.constant(integers(rng, n if biased else 0, 2)) for n in units[1:]
    ]
    capacities = [int(mask.sum()) + room for mask in self.masks]
    self.structures = [
      operations.rigl_sparse_structure(mask=mask, capacity=capacity)
      for mask, capacity in zip(self.masks, capacities)
    ]
    self.values = [
      operations.rigl_sparse_gather(
        kernel=kernel, structure=structure, capacity=capacity
      )
      for kernel, structure, capacity in zip(
        self.kernels, self.structures, capacities
      )
    ]

  def sparse(self, x, values, biases):
    return self.operations.rigl_sparse_chain(
      x=x,
      values=values,
      structure=self.structures,
      bias=biases,
      units=list(self.units),
      activations=list(self.activations),
    ).y

  def dense(self, x, kernels, biases):
    for kernel, bias, name in zip(kernels, biases, self.activations):
      x = tf.matmul(x, kernel)
      if bias.shape[0]:
        x = tf.nn.bias_add(x, bias)
      x = getattr(tf.keras.activations, name)(x)
    return x

  def scattered(self, layer, values):
    inputs, outputs = self.masks[layer].shape
    return self.operations.rigl_sparse_scatter(
      values=values,
      structure=self.structures[layer],
      inputs=inputs,
      outputs=outputs,
    )


def value_and_gradients(call, x, weights, biases, dy):
  x, dy = tf.constant(x), tf.constant(dy)
  weights = [tf.convert_to_tensor(weight) for weight in weights]
  with tf.GradientTape() as tape:
    tape.watch([x, *weights, *biases])
    y = call(x, weights, biases)
  return y, tape.gradient(
    y, (x, weights, biases), dy, tf.UnconnectedGradients.ZERO
  )


def assert_alike(one, other, tolerance):
  one, other = np.asarray(one), np.asarray(other)
  assert one.shape == other.shape
  if tolerance and other.size:
    tolerance *= np.abs(other).max() + 0.1
  np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def assert_as_dense(chain, rng, batch, tolerance, scale=1.0):
  """Compares values and gradients of both ways."""
  x = integers(rng, (batch, chain.units[0]), 3) * np.float32(scale)
  dy = integers(rng, (batch, chain.units[-1]), 2) * np.float32(scale)
  y, (dx, dvalues, dbiases) = value_and_gradients(
    chain.sparse, x, chain.values, chain.biases, dy
  )
  expected, (dx_, dkernels, dbiases_) = value_and_gradients(
    chain.dense, x, chain.kernels, chain.biases, dy
  )
  assert_alike(y, expected, tolerance)
  assert_alike(dx, dx_, tolerance)
  for i, (dvalue, dkernel, mask) in enumerate(
    zip(dvalues, dkernels, chain.masks)
  ):
    # Values that are not in use have no gradient.
    assert not np.any(dvalue[int(mask.sum()) :])
    assert_alike(chain.scattered(i, dvalue), dkernel * mask, tolerance)
  for one, other in zip(dbiases, dbiases_):
    assert_alike(one, other, tolerance)


@pytest.mark.parametrize('activation', ['linear', 'relu'])
@pytest.mark.parametrize('units', UNITS, ids=str)
def test_as_dense(operations, units, activation):
  rng = np.random.default_rng(0)
  for batch, density in itertools.product(BATCHES, DENSITIES):
    # Some with a bias, some with more room than there are weights.
    chain = Chain(
      operations, rng, units, density, activation, batch % 3, batch % 4
    )
    assert_as_dense(chain, rng, batch, 0)


@pytest.mark.parametrize('units', UNITS, ids=str)
def test_as_dense_with_tanh(operations, units):
  rng = np.random.default_rng(1)
  for batch, density in itertools.product(BATCHES, (0.05, 0.4)):
    chain = Chain(operations, rng, units, density, 'tanh', batch % 3)
    assert_as_dense(chain, rng, batch, 1e-5, scale=0.1)


@pytest.mark.parametrize('biased', [True, False])
def test_activations_that_differ(operations, biased):
  rng = np.random.default_rng(2)
  units = (9, 20, 20, 20, 3)
  chain = Chain(operations, rng, units, 0.4, 'relu', biased, is_exact=False)
  for names in itertools.permutations(['linear', 'relu', 'tanh']):
    chain.activations = ['relu', *names]
    for batch in (5, 130):
      assert_as_dense(chain, rng, batch, 1e-5, scale=0.1)


@pytest.mark.parametrize('batch', [30, 200])
@pytest.mark.parametrize('last', ['linear', 'relu'])
@pytest.mark.parametrize('wanted', ['x', 'biases', 'x and biases'])
def test_in_a_function(operations, batch, last, wanted):
  """Where gradients that nobody asks for are left out.

  If one operation alone reads what the forward pass has saved, it writes the
  gradients in its place.
  """
  rng = np.random.default_rng(3)
  chain = Chain(operations, rng, (6, 40, 30, 4), 0.5, 'relu', True)
  chain.activations[-1] = last
  x = integers(rng, (batch, 6), 3)

  def gradients(call):
    @tf.function(autograph=False)
    def compute(x, weights, biases):
      with tf.GradientTape() as tape:
        tape.watch([x, *weights, *biases])
        y = call(x, weights, biases)
      of = {'x': [x], 'biases': biases, 'x and biases': [x, *biases]}
      return [y, *tape.gradient(y, of[wanted])]

    return compute

  for one, other in zip(
    gradients(chain.sparse)(x, chain.values, chain.biases),
    gradients(chain.dense)(x, chain.kernels, chain.biases),
  ):
    assert one.shape == other.shape
    np.testing.assert_array_equal(one, other)


def test_shapes_are_inferred(operations):
  rng = np.random.default_rng(4)
  chain = Chain(operations, rng, (6, 40, 4), 0.5, 'relu', True)
  shapes = []

  @tf.function(
    autograph=False, input_signature=[tf.TensorSpec((None, 6), tf.float32)]
  )
  def compute(x):
    with tf.GradientTape() as tape:
      tape.watch([x, *chain.values, *chain.biases])
      y = chain.sparse(x, chain.values, chain.biases)
    dx, dvalues, dbiases = tape.gradient(y, (x, chain.values, chain.biases))
    shapes.extend(t.shape.as_list() for t in (y, dx, *dvalues, *dbiases))
    shapes.append(chain.scattered(0, dvalues[0]).shape.as_list())

  compute.get_concrete_function()
  counts = [int(mask.sum()) for mask in chain.masks]
  assert shapes == [
    [None, 4],
    [None, 6],
    [counts[0]],
    [counts[1]],
    [40],
    [4],
    [6, 40],
  ]


def test_finite_differences(operations):
  rng = np.random.default_rng(5)
  chain = Chain(operations, rng, (3, 4, 2), 0.6, 'tanh', True)
  chain.activations = ['tanh', 'linear']
  values = [value * 0.3 for value in chain.values]
  x = tf.constant(integers(rng, (2, 3), 3) * np.float32(0.3))
  biases = chain.biases
  for theory, numbers in (
    tf.test.compute_gradient(lambda x: chain.sparse(x, values, biases), [x]),
    tf.test.compute_gradient(
      lambda *values: chain.sparse(x, values, biases), values
    ),
    tf.test.compute_gradient(
      lambda *biases: chain.sparse(x, values, biases), biases
    ),
  ):
    for one, other in zip(theory, numbers):
      np.testing.assert_allclose(one, other, atol=2e-3)
      assert np.any(one)


def test_what_is_not_finite_is_not_hidden(operations):
  """But that of an input without weights has no effect, as it has none."""
  mask = np.float32([[1, 0], [0, 1], [0, 0]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=2)
  x = np.float32([[1, np.nan, np.inf], [2, 3, 4]])
  y = operations.rigl_sparse_chain(
    x=x,
    values=[[1.0, 1]],
    structure=[structure],
    bias=[np.float32([])],
    units=[3, 2],
    activations=['linear'],
  ).y
  np.testing.assert_array_equal(y, [[1, np.nan], [2, 3]])


def test_structure_by_eye(operations):
  mask = np.float32([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=5)
  # Values lie by output, then by input; one more has room.
  kernel = np.float32([[9, 2, 9, 4], [9, 9, 9, 9], [1, 3, 9, 9]])
  values = operations.rigl_sparse_gather(
    kernel=kernel, structure=structure, capacity=5
  )
  assert values.numpy().tolist() == [1, 2, 3, 4, 0]
  assert structure.numpy().tolist() == [
    *(0, 1, 3, 3, 4),  # Where the weights of each output begin, and end;
    *(0, 2, 2, 4),  # those of each input.
    *(2, 0, 2, 0, 0),  # The inputs of the values;
    *(1, 3, 0, 1, 0),  # by input, the outputs
    *(1, 3, 0, 2, 0),  # and the positions among the values.
  ]
  back = operations.rigl_sparse_scatter(
    values=values, structure=structure, inputs=3, outputs=4
  )
  np.testing.assert_array_equal(back, kernel * mask)


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (40, 70)], ids=str)
@pytest.mark.parametrize('density', DENSITIES)
@pytest.mark.parametrize('room', [0, 1, 20])
def test_round_trip(operations, shape, density, room):
  rng = np.random.default_rng(6)
  mask = (rng.random(shape) < density).astype(np.float32)
  kernel = rng.standard_normal(shape).astype(np.float32)
  count = int(mask.sum())
  # Whatever is not zero is active.
  structure = operations.rigl_sparse_structure(
    mask=mask * -3, capacity=count + room
  )
  values = operations.rigl_sparse_gather(
    kernel=kernel, structure=structure, capacity=count + room
  )
  np.testing.assert_array_equal(values[:count], kernel.T[mask.T > 0])
  np.testing.assert_array_equal(values[count:], np.zeros(room))
  junk = tf.concat([values[:count], tf.fill([room], np.nan)], 0)
  back = operations.rigl_sparse_scatter(
    values=junk, structure=structure, inputs=shape[0], outputs=shape[1]
  )
  np.testing.assert_array_equal(back, kernel * mask)


@pytest.mark.parametrize('in_function', [True, False])
def test_gradient_of_a_scattered_kernel_is_that_of_all_weights(
  operations, in_function
):
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=4)
  x = tf.constant([[1.0, 2, 3]])

  def gradient(values):
    with tf.GradientTape() as tape:
      tape.watch(values)
      kernel = operations.rigl_sparse_scatter(
        values=values, structure=structure, inputs=3, outputs=2
      )
      loss = tf.reduce_sum(tf.matmul(x, kernel) * [[1.0, 10]])
    return tape.gradient(loss, values)

  if in_function:
    gradient = tf.function(gradient, autograph=False)
  found = gradient(tf.constant([1.0, 2, 3, 4]))
  np.testing.assert_array_equal(found, [[1, 10], [2, 20], [3, 30]])


def _arguments(operations, batch=3):
  """Of a chain of one layer, and of its gradients."""
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  layer = {
    'values': [tf.constant([1.0, 2, 3, 4])],
    'structure': [operations.rigl_sparse_structure(mask=mask, capacity=4)],
    'bias': [tf.constant([1.0, 2])],
    'units': [3, 2],
    'activations': ['relu'],
  }
  forward = {'x': tf.ones((batch, 3)), **layer}
  saved = operations.rigl_sparse_chain(**forward).saved
  return forward, {'dy': tf.ones((batch, 2)), 'saved': saved, **layer}


@pytest.mark.parametrize(
  'wrong,message',
  [
    ({'structure': [np.zeros(18, np.int32)]}, 'structure must have 19'),
    ({'structure': [np.full(19, -1, np.int32)]}, 'no structure of 4 values'),
    ({'values': [np.zeros(5, np.float32)]}, 'structure must have 22'),
    ({'bias': [np.zeros(3, np.float32)]}, 'bias must have 2'),
    ({'units': [3, 2, 2]}, 'units'),
    ({'activations': ['relu', 'relu']}, 'units'),
    ({'activations': ['elu']}, 'elu'),
    ({'units': [3, 3]}, 'structure must have 20'),
  ],
)
def test_wrong_layers_are_refused(operations, wrong, message):
  forward, backward = _arguments(operations)
  if wrong == {'units': [3, 3]}:
    backward['dy'] = tf.ones((3, 3))
  with pytest.raises(REFUSALS, match=message):
    operations.rigl_sparse_chain(**{**forward, **wrong})
  for operation in (
    operations.rigl_sparse_chain_weight_gradient,
    operations.rigl_sparse_chain_input_gradient,
  ):
    with pytest.raises(REFUSALS, match=message):
      operation(**{**backward, **wrong})


def test_wrong_examples_are_refused(operations):
  forward, backward = _arguments(operations)
  for shape in ((3, 4), (3,), (3, 3, 1)):
    with pytest.raises(REFUSALS, match='x must be|rank 2|imension'):
      operations.rigl_sparse_chain(**{**forward, 'x': tf.ones(shape)})
  for operation in (
    operations.rigl_sparse_chain_weight_gradient,
    operations.rigl_sparse_chain_input_gradient,
  ):
    for shape in ((3, 3), (2,), (3, 2, 1)):
      with pytest.raises(REFUSALS, match='dy must be|rank 2'):
        operation(**{**backward, 'dy': tf.ones(shape)})
    # What is saved of 3 examples has room for 16.
    with pytest.raises(REFUSALS, match='saved must have 160 elements'):
      operation(**{**backward, 'dy': tf.ones((17, 2))})


@pytest.mark.parametrize('where', ['output', 'input'])
@pytest.mark.parametrize(
  'change',
  [
    {0: 1},  # Does not begin at 0,
    {1: 3, 2: 2},  # goes down,
    {1: -1},
    {-1: 5},  # ends beyond the capacity,
    {-1: 2},  # or not where the other one ends.
  ],
)
def test_unsound_structures_are_refused(operations, where, change):
  forward, _ = _arguments(operations)
  structure = forward['structure'][0].numpy()
  begins = structure[:3] if where == 'output' else structure[3:7]
  for place, value in change.items():
    begins[place] = value
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_chain(**{**forward, 'structure': [structure]})
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_gather(
      kernel=np.ones((3, 2), np.float32), structure=structure, capacity=4
    )
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_scatter(
      values=np.ones(4, np.float32), structure=structure, inputs=3, outputs=2
    )


def test_what_does_not_fit_is_refused(operations):
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  with pytest.raises(REFUSALS, match='4 active weights, but .* room for 3'):
    operations.rigl_sparse_structure(mask=mask, capacity=3)
  with pytest.raises(REFUSALS, match='mask must be'):
    operations.rigl_sparse_structure(mask=mask[0], capacity=3)
  structure = operations.rigl_sparse_structure(mask=mask, capacity=4)
  with pytest.raises(REFUSALS, match='kernel must be'):
    operations.rigl_sparse_gather(
      kernel=mask[0], structure=structure, capacity=4
    )
  for kernel, capacity in ((mask, 5), (mask.T, 5), (mask[:2], 4)):
    with pytest.raises(REFUSALS, match='structure must have'):
      operations.rigl_sparse_gather(
        kernel=kernel, structure=structure, capacity=capacity
      )
  for values, inputs, outputs in ((5, 3, 2), (4, 4, 2), (4, 3, 4)):
    with pytest.raises(REFUSALS, match='structure must have'):
      operations.rigl_sparse_scatter(
        values=tf.ones(values),
        structure=structure,
        inputs=inputs,
        outputs=outputs,
      )


# What is computed with each kind of instructions, and numbers of threads, by a
# child of its own: those are read once in a process. TensorFlow is imported but
# once, since no thread of its own runs before the first operation.
_PROGRAM = """
import multiprocessing, os, sys
from rigl_rl.training import quiet
quiet.silence()
import numpy as np
import tensorflow as tf
from rigl_rl.kernels import loader

# Beside small layers, some whose work is shared among threads: by examples,
# and by rows.
CASES = [((5, 40, 30, 2), 17, .5), ((5, 40, 30, 2), 257, .5),
         ((250, 260, 9), 400, .5), ((330, 320), 127, .8),
         ((630, 620), 31, .9), ((230, 207, 5), 31, 1)]

def compute(simd, threads, team, path):
  os.environ['RIGL_RL_SIMD'] = simd
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  operations = loader.load()
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
    assert_alike(one, other, 2e-5)
    if np.all(one == np.round(one)):
      np.testing.assert_array_equal(one, other)
  exact = [np.all(one == np.round(one)) for one in computed[simd, 1, 0]]
  assert sum(exact) >= len(exact) // 2


# The least time that a layer took, forward and input gradient, in seconds.
_TIMING = """
import time
from rigl_rl.training import quiet
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
