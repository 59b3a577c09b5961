"""Tests of StepPlan: what Python decides about a train step."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import (
  algorithms,
  mask_updater,
  optimizer,
  schedules,
  step_plan,
  wrappers,
)


def _optimizer(period=1, seed=0, **schedule):
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(4, use_bias=False))
  layer.build((None, 4))
  layer.initialize(0.5, algorithms.DS(0.5), seed)
  schedule = schedules.UpdateSchedule(100, period=period, **schedule)
  updater = mask_updater.MaskUpdater([layer], schedule, seed)
  inner = tf.keras.optimizers.legacy.SGD(0.1)
  return optimizer.SparseOptimizer(inner, [layer], updater, period=period)


def _step(sparse):
  (layer,) = sparse.layers
  gradient = tf.random.stateless_normal((4, 4), (int(sparse.step), 1))
  sparse.apply_gradients([(gradient, layer.kernel)])


def test_plans_by_hand():
  actor, critic = _optimizer(2, interval=5), _optimizer(interval=5)
  planner = step_plan.StepPlanner([actor, critic], 2, target_period=3)
  names = {actor: 'actor', critic: 'critic'}
  found = []
  for step in range(9):
    plan = planner.plan(step)
    updates = ' '.join(sorted(names[each] for each in plan.mask_updates))
    found.append(
      (updates, plan.trains_actor, plan.updates_targets, plan.masks_moved)
    )
  assert found == [
    ('critic', False, False, False),
    ('actor', True, False, False),  # Due at 0, when the actor did not train.
    ('', False, True, True),
    ('', True, False, False),
    ('', False, False, False),
    ('actor critic', True, True, True),
    ('', False, False, False),
    ('', True, False, False),
    ('', False, True, False),
  ]


def test_plans_of_what_trains_one_network():
  sparse = _optimizer(interval=3, begin=0.02, end=0.09)
  planner = step_plan.StepPlanner([sparse])
  updates = [bool(planner.plan(step).mask_updates) for step in range(10)]
  assert np.flatnonzero(updates).tolist() == [2, 5, 8]
  # Alike, so that they share what is traced.
  assert planner.plan(0) == planner.plan(3) == step_plan.StepPlan()
  assert hash(planner.plan(2)) == hash(planner.plan(5))


@pytest.mark.parametrize('interval', [1, 3, 5])
@pytest.mark.parametrize('period', [1, 2, 3])
@pytest.mark.parametrize('target_period', [1, 2, 4])
def test_no_move_of_masks_is_missed(period, interval, target_period):
  sparse = _optimizer(period, interval=interval)
  (layer,) = sparse.layers
  planner = step_plan.StepPlanner([sparse], period, target_period)
  copied = layer.mask.numpy()
  for step in range(18):
    plan = planner.plan(step)
    before = layer.mask.numpy()
    assert plan.trains_actor == ((step + 1) % period == 0)
    if plan.trains_actor:
      plan.bind(_step)(sparse)
    moved = (layer.mask.numpy() != before).any()
    assert moved == bool(plan.mask_updates)
    if plan.updates_targets:
      if plan.masks_moved:
        copied = layer.mask.numpy()
      np.testing.assert_array_equal(copied, layer.mask)


@pytest.mark.parametrize('period', [1, 2])
def test_in_graph_it_is_decided_by_the_step(period):
  planner = step_plan.StepPlanner([], period, target_period=3)

  @tf.function(autograph=False)
  def decide(step):
    plan = planner.in_graph(step)
    return [
      step_plan.when(each, lambda: 1, lambda: 0)
      for each in (plan.trains_actor, plan.updates_targets)
    ]

  for step in range(7):
    plan = planner.plan(step)
    found = decide(tf.constant(step, tf.int64))
    assert list(map(bool, found)) == [plan.trains_actor, plan.updates_targets]


def test_a_plan_holds_only_inside():
  sparse = _optimizer(interval=1)
  (layer,) = sparse.layers
  before = layer.mask.numpy()

  def train():
    _step(sparse)
    return step_plan.current()

  plan = step_plan.StepPlan()
  assert plan.bind(train)() is plan
  np.testing.assert_array_equal(layer.mask, before)
  with pytest.raises(KeyError):
    plan.bind({}.__getitem__)('missing')
  assert train() is None
  assert (layer.mask.numpy() != before).any()


def test_what_is_traced_has_no_branch_on_masks():
  sparse = _optimizer(interval=3)
  (layer,) = sparse.layers

  def operations(function):
    graph = (
      tf.function(function, autograph=False)
      .get_concrete_function(tf.TensorSpec((4, 4)))
      .graph
    )
    return {op.type for op in graph.get_operations()}

  def train(gradient):
    return sparse.apply_gradients([(gradient, layer.kernel)])

  branches = {'If', 'StatelessIf'}
  planner = step_plan.StepPlanner([sparse])
  assert operations(train) & branches
  for step in (0, 1):
    assert not operations(planner.plan(step).bind(train)) & branches


def test_threads_trace_by_their_own_plans():
  """At the same time, each inside of the other's trace."""
  barrier = threading.Barrier(2)
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(2))
  layer.needs_dense_gradient = True
  plans = [
    step_plan.StepPlan(frozenset(['an optimizer'])),
    step_plan.StepPlan(),
  ]
  found = {}

  def trace(plan):
    def function():
      barrier.wait(10)
      found[plan] = (step_plan.current(), step_plan.computes_densely(layer))
      barrier.wait(10)
      return tf.constant(0)

    tf.function(plan.bind(function), autograph=False).get_concrete_function()

  threads = [threading.Thread(target=trace, args=(plan,)) for plan in plans]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert found == {plans[0]: (plans[0], True), plans[1]: (plans[1], False)}
