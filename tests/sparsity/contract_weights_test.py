"""What every sparse algorithm does to weights, slots and checkpoints."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from helpers.algorithm_runs import (
  BY_NAME,
  DROP_AND_GROW,
  OPTIMIZERS,
  STEPS,
  UPDATES,
  Run,
  assert_histories_equal,
  batch_of,
  each_algorithm,
  each_drop_and_grow,
  each_optimizer,
  history_of,
  mostly,
  one_layer,
  three_layers,
  train_step,
  update_steps,
)


@each_algorithm
@each_optimizer
def test_weights_off_the_mask_are_zero(name, inner, replace_gradient_step):
  history = history_of(
    name, inner=inner, replace_gradient_step=replace_gradient_step
  )
  for snapshot in history:
    for mask, kernel in zip(snapshot.masks, snapshot.kernels):
      assert np.isfinite(kernel).all()
      assert (kernel[mask == 0] == 0).all()
  for before, after in zip(history[0].kernels, history[-1].kernels):
    lasting = (before != 0) & (after != 0)
    assert mostly(before != after, lasting)  # And those on it are trained.


@functools.lru_cache(maxsize=None)
def _dense_history():
  """Plain training: no wrapper is initialized, and no SparseOptimizer."""
  model = three_layers()
  inner = OPTIMIZERS['adam']()
  step = tf.function(functools.partial(train_step, model, inner))
  history = []
  for i in range(STEPS):
    step(*batch_of(i))
    history.append([v.numpy() for v in model.trainable_variables])
  return history


@each_algorithm
def test_sparsity_zero_equals_dense_training(name):
  run = Run(name, sparsity=0.0, graph=True)
  for step, expected in enumerate(_dense_history()):
    run.train([step])
    for variable, value in zip(
      run.model.trainable_variables, expected, strict=True
    ):
      np.testing.assert_array_equal(variable, value)
  assert all(layer.mask.numpy().all() for layer in run.layers)


def _grown(before, after, i):
  return (before.masks[i] == 0) & (after.masks[i] == 1)


@each_algorithm
@each_optimizer
def test_new_weights_and_slots_start_at_zero(
  name, inner, replace_gradient_step
):
  history = history_of(
    name, inner=inner, replace_gradient_step=replace_gradient_step
  )
  num_grown = 0
  for step in update_steps(name):
    before, after = history[step], history[step + 1]
    for i in range(3):
      grown = _grown(before, after, i)
      num_grown += grown.sum()
      assert (after.kernels[i][grown] == 0).all()
      lasting = (before.masks[i] == 1) & (after.masks[i] == 1)
      assert len(after.slots[i]) == (2 if inner.startswith('adam') else 1)
      for slot in after.slots[i]:
        assert (slot[grown] == 0).all()
        assert mostly(slot != 0, lasting)
  assert (num_grown > 0) == (name in DROP_AND_GROW)


@each_drop_and_grow
def test_new_weights_learn_at_once(name):
  history = history_of(name)
  update = UPDATES[0]
  grown = _grown(history[update], history[update + 1], 2)
  assert mostly(history[update + 2].kernels[2] != 0, grown)


@each_algorithm
def test_lasting_weights_take_the_gradient_step_too(name):
  history = history_of(name)
  for step in update_steps(name):
    before, after = history[step], history[step + 1]
    for i in range(3):
      lasting = (before.masks[i] == 1) & (after.masks[i] == 1)
      assert mostly(before.kernels[i] != after.kernels[i], lasting)


@each_algorithm
def test_replaced_gradient_steps_are_those_that_grow_by_gradient(name):
  history = history_of(name, replace_gradient_step=True)
  for step, (before, after) in enumerate(zip(history, history[1:])):
    replaced = step in update_steps(name) and BY_NAME[name].needs_dense_gradient
    for i in range(3):
      unchanged = (before.biases[i] == after.biases[i]).all()
      assert unchanged == replaced
      kept = (before.masks[i] == 1) & (after.masks[i] == 1)
      unchanged = (before.kernels[i] == after.kernels[i])[kept].all()
      assert unchanged == replaced


@each_algorithm
@pytest.mark.parametrize('graph', [False, True])
def test_checkpoint_continues_bit_for_bit(name, graph, tmp_path):
  # Of the two, the graph is the one that takes time.
  model = one_layer if graph else three_layers
  run = Run(name, model=model, graph=graph)
  run.train(range(6))
  checkpoint = tf.train.Checkpoint(model=run.model, optimizer=run.optimizer)
  path = checkpoint.write(str(tmp_path / 'checkpoint'))

  resumed = Run(name, model=model, model_seed=1, seed=1, graph=graph)
  if graph:  # Restored at once, rather than when the first step makes them.
    resumed.optimizer.create_slots(resumed.model.trainable_variables)
  status = tf.train.Checkpoint(
    model=resumed.model, optimizer=resumed.optimizer
  ).read(path)
  history = resumed.train(range(6, STEPS))
  status.assert_consumed()
  assert int(resumed.optimizer.step) == STEPS
  assert int(run.optimizer.step) == 6
  assert_histories_equal(history[1:], run.train(range(6, STEPS))[1:])
