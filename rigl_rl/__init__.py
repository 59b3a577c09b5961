"""Sparse training for deep RL, on Dopamine and TF-Agents.

A Keras model is made sparse, and trained, in a few lines:

  import rigl_rl
  import tensorflow as tf

  model = tf.keras.Sequential([...])      # built
  layers = rigl_rl.sparsify(model, sparsity=0.9, algorithm=rigl_rl.RigL())
  optimizer = rigl_rl.make_sparse_optimizer(
    tf.keras.optimizers.Adam(), layers, total_steps=10_000
  )
  model.compile(optimizer, loss='mse')    # or optimizer.apply_gradients(...)
  model.fit(x, y, epochs=10)
  model.save('model.keras')               # and rigl_rl.load_model

So is an agent of TF-Agents, after its construction:

  agent = sac_agent.SacAgent(...)
  schedule = rigl_rl.UpdateSchedule(total_steps, interval=1000)
  layers = rigl_rl.sparsify_agent(agent, schedule, sparsity=0.9)

A run is trained from gin files, as by `launch.train`, and loaded again:

  run = rigl_rl.train(gin_files, bindings, base_dir)
  run = rigl_rl.load_run(base_dir)
  run.evaluations, run.policy(observation), run.networks['actor']

These are the objects that gin binds. Importing this package is quick: each name
is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Before any module of the package can import TensorFlow.
from rigl_rl import legacy_keras

if TYPE_CHECKING:
  from rigl_rl.agents.stock import sparsify_agent as sparsify_agent
  from rigl_rl.errors import UserError as UserError
  from rigl_rl.runs import Run as Run
  from rigl_rl.runs import Runs as Runs
  from rigl_rl.runs import load_run as load_run
  from rigl_rl.runs import load_runs as load_runs
  from rigl_rl.runs import train as train
  from rigl_rl.sparsity.algorithms import DS as DS
  from rigl_rl.sparsity.algorithms import SET as SET
  from rigl_rl.sparsity.algorithms import Dense as Dense
  from rigl_rl.sparsity.algorithms import Prune as Prune
  from rigl_rl.sparsity.algorithms import RigL as RigL
  from rigl_rl.sparsity.algorithms import SparseAlgorithm as SparseAlgorithm
  from rigl_rl.sparsity.algorithms import Static as Static
  from rigl_rl.sparsity.distributions import erdos_renyi as erdos_renyi
  from rigl_rl.sparsity.distributions import (
    erdos_renyi_kernel as erdos_renyi_kernel,
  )
  from rigl_rl.sparsity.distributions import uniform as uniform
  from rigl_rl.sparsity.optimizer import SparseOptimizer as SparseOptimizer
  from rigl_rl.sparsity.optimizer import load_model as load_model
  from rigl_rl.sparsity.optimizer import (
    make_sparse_optimizer as make_sparse_optimizer,
  )
  from rigl_rl.sparsity.schedules import UpdateSchedule as UpdateSchedule
  from rigl_rl.sparsity.wrappers import SparseWrapper as SparseWrapper
  from rigl_rl.sparsity.wrappers import named_layers as named_layers
  from rigl_rl.sparsity.wrappers import sparse_layers as sparse_layers
  from rigl_rl.sparsity.wrappers import sparsify as sparsify

legacy_keras.choose()

# The names above, by the module that defines them.
_NAMES = {
  'agents.stock': 'sparsify_agent',
  'errors': 'UserError',
  'runs': 'Run Runs load_run load_runs train',
  'sparsity.algorithms': 'DS Dense Prune RigL SET SparseAlgorithm Static',
  'sparsity.distributions': 'erdos_renyi erdos_renyi_kernel uniform',
  'sparsity.optimizer': 'SparseOptimizer load_model make_sparse_optimizer',
  'sparsity.schedules': 'UpdateSchedule',
  'sparsity.wrappers': 'SparseWrapper named_layers sparse_layers sparsify',
}
_MODULES = {
  name: module for module, names in _NAMES.items() for name in names.split()
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from rigl_rl import quiet

  with quiet.start_tensorflow_quietly():
    value = getattr(importlib.import_module(f'rigl_rl.{_MODULES[name]}'), name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
