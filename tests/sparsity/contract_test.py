"""What every sparse training algorithm must keep to.

One suite over all classes that `algorithms.__all__` names. An algorithm that
the package gains is covered without a change here.
"""

import numpy as np
import pytest
import tensorflow as tf

from helpers.algorithm_runs import (
  BY_NAME,
  DROP_AND_GROW,
  SPARSITY,
  STEPS,
  UPDATES,
  WINDOW_END,
  Run,
  assert_histories_equal,
  count_active,
  each_algorithm,
  each_drop_and_grow,
  history_of,
  make_schedule,
  one_layer,
  update_steps,
)
from rigl_rl.sparsity import distributions

# Their masks depend only on the weights.
_NOT_RANDOM = ('Dense', 'Prune')


def test_the_suite_runs_over_all_algorithms():
  assert {'DS', 'Dense', 'Prune', 'RigL', 'SET', 'Static'} <= set(BY_NAME)
  assert {'DS', 'RigL', 'SET'} <= set(DROP_AND_GROW)
  schedule = make_schedule()
  assert UPDATES == tuple(schedule.update_steps())
  assert WINDOW_END == schedule.end_step
  assert update_steps('Prune') == (*UPDATES, WINDOW_END)


def _allowed(size, sparsity):
  """Active weights of a layer of `size` weights."""
  return size - distributions.num_zeros(size, sparsity)


@each_algorithm
def test_active_count_is_exact(name):
  run = Run(name)
  history = run.train()
  for i, layer in enumerate(run.layers):
    size = layer.mask.shape.num_elements()
    counts = [count_active(snapshot.masks[i]) for snapshot in history]
    if hasattr(layer.algorithm, 'sparsity_at'):
      bound = layer.algorithm.bind(layer.sparsity, make_schedule())
      expected = [size] * (1 + UPDATES[0])
      for step in range(UPDATES[0], STEPS):
        last = max(s for s in update_steps(name) if s <= step)
        sparsity = float(bound.sparsity_at(tf.constant(last, tf.int64)))
        expected.append(_allowed(size, sparsity))
      assert expected[-1] == _allowed(size, layer.sparsity)
    elif layer.algorithm.random_count:
      deviation = np.sqrt(size * SPARSITY * (1 - SPARSITY))
      assert abs(counts[0] - size * (1 - SPARSITY)) < 5 * deviation
      expected = [counts[0]] * (STEPS + 1)
    else:
      expected = [_allowed(size, layer.sparsity)] * (STEPS + 1)
    assert counts == expected


def test_pruning_follows_the_cubic_curve():
  history = history_of('Prune')
  for i, mask in enumerate(history[0].masks):
    for step in update_steps('Prune'):
      progress = (step - 1) / 8
      sparsity = SPARSITY * (1 - (1 - progress) ** 3)
      assert count_active(history[step + 1].masks[i]) == _allowed(
        mask.size, sparsity
      )


@each_algorithm
def test_layers_have_the_sparsity_asked_for(name):
  run = Run(name)
  expected = 0.0 if name == 'Dense' else SPARSITY
  assert [layer.sparsity for layer in run.layers] == [expected] * 3


@each_algorithm
def test_masks_are_binary_and_change_only_on_update_steps(name):
  history = history_of(name)
  for step, (before, after) in enumerate(zip(history, history[1:])):
    for old, new in zip(before.masks, after.masks):
      assert set(np.unique(new)) <= {0.0, 1.0}
      if step not in update_steps(name):
        np.testing.assert_array_equal(old, new)


@each_algorithm
def test_masks_change_where_they_should(name):
  history = history_of(name)
  for i in range(3):
    changed = (history[0].masks[i] != history[-1].masks[i]).any()
    assert changed == BY_NAME[name].changes_masks


@each_algorithm
def test_same_seed_same_run(name):
  assert_histories_equal(Run(name).train(), history_of(name))


@each_algorithm
def test_other_seed_other_masks(name):
  first, second = history_of(name), history_of(name, seed=1)
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
    run = Run(
      name, model=one_layer, replace_gradient_step=replace_gradient_step
    )
    variables = run.model.trainable_variables

    def apply(gradients, run=run, variables=variables):
      run.optimizer.apply_gradients(zip(gradients, variables))

    step = tf.function(apply) if graph else apply
    history = [run.snapshot()]
    for i in range(STEPS):
      rng = np.random.default_rng(i)
      step([tf.constant(rng.standard_normal(v.shape), v.dtype)
            for v in variables])  # fmt: skip
      history.append(run.snapshot())
    histories.append(history)
  assert_histories_equal(*histories)


@each_drop_and_grow
def test_drop_fraction_zero_leaves_masks_alone(name):
  history = history_of(name, drop_fraction=0.0)
  static = history_of('Static')
  for snapshot in history[1:]:
    for before, after in zip(history[0].masks, snapshot.masks):
      np.testing.assert_array_equal(before, after)
  if not BY_NAME[name].random_count:  # It has another first mask.
    # Slots off the mask are zeroed at an update: they touch no weight.
    for a, b in zip(history, static):
      np.testing.assert_array_equal(
        tf.nest.flatten([a.masks, a.kernels, a.biases])[0],
        tf.nest.flatten([b.masks, b.kernels, b.biases])[0],
      )
