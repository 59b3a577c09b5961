"""Tests of what a user's distribution or algorithm may return."""

import re

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  algorithms,
  optimizer,
  schedules,
  user_code,
  wrappers,
)


def _model():
  model = tf.keras.Sequential(
    [
      tf.keras.layers.Dense(4, use_bias=False, name='first'),
      tf.keras.layers.Dense(2, use_bias=False, name='second'),
    ]
  )
  model.build((None, 4))
  return model


NAN = float('nan')


@pytest.mark.parametrize(
  'returned,parts',
  [
    ({'first': 0.5}, ('no sparsity', "'second'")),
    ({'first': 0.5, 'second': 0, 'third': 0.1}, ("'third'", 'no other')),
    ({'first': 1.5, 'second': 0.5}, ('1.5', "'first'", '[0, 1)')),
    ({'first': 0.5, 'second': 1.0}, ('1.0', "'second'")),
    ({'first': NAN, 'second': 0.5}, ('nan', "'first'")),
    ({'first': None, 'second': 0.5}, ('None', "'first'")),
    ({'first': -0.1, 'second': 0.5}, ('-0.1', "'first'")),
    ({'first': True, 'second': 0.5}, ('True', "'first'")),
    ({'first': '0.5', 'second': 0.5}, ("'0.5'", "'first'")),
    ([0.5, 0.5], ('[0.5, 0.5]', 'dict')),
    (None, ('None', 'dict')),
  ],
)
def test_a_distribution(returned, parts, user_error):
  def mine(shapes, sparsity):
    del shapes, sparsity
    return returned

  with user_error('user_code_test.', 'mine', *parts):
    wrappers.sparsify(_model(), mine, 0.5)


def test_numbers_of_numpy_are_sparsities():
  layers = wrappers.sparsify(
    _model(), lambda shapes, _: {name: np.float32(0.5) for name in shapes}
  )
  assert [layer.sparsity for layer in layers] == [0.5, 0.5]


@pytest.mark.parametrize(
  'mask,parts',
  [
    (tf.ones((4, 3)), ('(4, 3)', '(4, 4)', 'first')),
    (tf.fill((4, 4), 0.5), ('0.5', 'first', 'zeros and ones')),
    (tf.fill((4, 4), NAN), ('nan', 'first')),
    (tf.ones((4, 4), tf.bool), ('bool', 'float32')),
    (None, ('None', 'first')),
  ],
)
def test_an_initial_mask(mask, parts, user_error):
  class Mine(algorithms.SET):
    def initial_mask(self, shape, sparsity, seed):
      return mask

  with user_error('user_code_test.', 'Mine.initial_mask', *parts):
    wrappers.sparsify(_model(), sparsity=0.5, algorithm=Mine())


def test_a_mask_that_is_to_be_dense(user_error):
  class Mine(algorithms.Prune):
    def initial_mask(self, shape, sparsity, seed):
      return tf.one_hot([0, 1, 2, 3], shape[1])

  with user_error('Mine.initial_mask', '12 zeros', 'first', 'starts_dense'):
    wrappers.sparsify(_model(), sparsity=0.5, algorithm=Mine())


def _train(algorithm, graph, steps=1, gradient=1.0):
  """Takes train steps, each of which changes masks."""
  model = _model()
  layers = wrappers.sparsify(
    model, lambda shapes, s: dict.fromkeys(shapes, s), 0.5, algorithm
  )
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.legacy.SGD(0.1), layers, total_steps=1000, seed=0
  )

  def step():
    sparse.apply_gradients(
      [
        (tf.fill(layer.kernel.shape, gradient), layer.kernel)
        for layer in layers
      ]
    )

  if graph:
    step = tf.function(step, autograph=False)
  for _ in range(steps):
    sparse.step.assign(0)
    step()
  return layers


def _with(name, function):
  return type('Mine', (algorithms.RigL,), {name: function})()


def _const(value):
  return lambda self, weight, *_: tf.fill(tf.shape(weight), value)


def _one_less(self, weight, mask, grad, step, seed):
  first = tf.reshape(tf.one_hot(tf.argmax(tf.reshape(mask, [-1])), 16), (4, 4))
  return mask - first if weight.shape == (4, 4) else mask


WRONG = {
  'half': ('update', _const(0.5), ('zeros and ones', 'first')),
  'nan': ('update', _const(NAN), ('zeros and ones', 'first')),
  'count': ('update', _one_less, (' 7 ones', '8 to 8', 'first')),
  'shape': ('update', lambda *_: tf.ones((2, 2)), ('(2, 2)', '(4, 4)')),
  'none': ('update', lambda *_: None, ('None', 'first')),
  'drop': ('drop_score', _const(NAN), ('NaN', 'first')),
  'grow': ('grow_score', _const(NAN), ('NaN', 'first')),
  'score': ('grow_score', lambda *_: tf.ones(16), ('(16,)', '(4, 4)')),
  'nan fraction': (
    'drop_fraction_at',
    lambda *_: tf.constant(NAN),
    ('nan', '[0, 1]', 'first'),
  ),
  'fraction': ('drop_fraction_at', lambda *_: 1.5, ('1.5', '[0, 1]')),
}


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('case', WRONG)
def test_an_algorithm(case, graph):
  method, function, parts = WRONG[case]
  algorithm = _with(method, function)
  with pytest.raises(UserError) as error, user_code.errors_in_one_line():
    _train(algorithm, graph)
  message = str(error.value)
  for part in (f'user_code_test.Mine.{method}', *parts):
    assert part in message.replace(algorithm.__module__, 'user_code_test')
  assert len(message.splitlines()) == 1


@pytest.mark.parametrize('graph', [False, True])
def test_an_algorithm_may_declare_another_count(graph):
  algorithm = _with('update', _one_less)
  type(algorithm).active_range = lambda self, mask, step: (0, tf.size(mask))
  layers = _train(algorithm, graph)
  assert np.count_nonzero(layers[0].mask) == 7


def test_a_gradient_that_is_not_finite_is_not_the_algorithms_fault():
  _train(algorithms.RigL(), False, gradient=NAN)


def test_ds_may_drop_only_at_the_last_update():
  algorithm = algorithms.DS(0.5, last_update_only_drops=True)
  (layer, _) = _train(algorithm, False)
  schedule = schedules.UpdateSchedule(100, end=0.5)
  bound = algorithm.bind(0.5, schedule)
  count = np.count_nonzero(layer.mask)
  for step, lowest in ((0, count), (schedule.end_step, 0)):
    least, most = bound.active_range(layer.mask, step)
    assert (int(least), int(most)) == (lowest, count)


def test_other_errors_stay_what_they_are():
  with pytest.raises(tf.errors.InvalidArgumentError):
    with user_code.errors_in_one_line():
      tf.debugging.Assert(tf.constant(False), ['other'])


def test_names():
  assert re.fullmatch(
    r'rigl_rl\.sparsity\.algorithms\.set\.SET',
    user_code.name_of(algorithms.SET),
  )
  assert user_code.name_of(3) == '3'
