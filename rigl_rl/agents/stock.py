"""sparsify_agent: sparse networks for an agent of TF-Agents as published."""

from __future__ import annotations

from typing import Any, Mapping

from tf_agents.agents import tf_agent

from rigl_rl.compat import tf_agents as compat
from rigl_rl.errors import UserError
from rigl_rl.sparsity import optimizer as sparse_optimizer
from rigl_rl.sparsity import schedules, wrappers


def sparsify_agent(
  agent: tf_agent.TFAgent,
  schedule: schedules.UpdateSchedule,
  sparsity: float | Mapping[str, float] = 0.9,
  seed: int = 0,
  **options: Any,
) -> dict[str, list[wrappers.SparseWrapper]]:
  """Makes the networks of an agent sparse, after its construction.

    agent = sac_agent.SacAgent(...)
    schedule = rigl_rl.UpdateSchedule(total_steps, interval=1000)
    layers = rigl_rl.sparsify_agent(agent, schedule, sparsity=0.9)

  A `SparseOptimizer` replaces each optimizer of the agent, and keeps the masks
  of trained networks. Target networks become copies of the online networks, and
  have their masks at every step. Call it before the agent trains: a tf.function
  that was traced before keeps the old optimizer.

  Args:
    agent: a SacAgent, Td3Agent, DdpgAgent, DqnAgent or PPOAgent, or of a class
      that derives from one.
    schedule: when masks change, in train steps; in PPO, in gradient steps.
    sparsity: of each network, in [0, 1), or by the network's name: 'actor',
      'critic_1', 'critic_2', 'critic', 'q' or 'value'. Networks that a mapping
      does not name stay dense.
    seed: int32 seed of masks and growth.
    **options: other arguments of `sparsify`, for each network.

  Returns:
    The sparse layers of each trained network, by the network's name.

  Raises:
    UserError: on an agent or argument of another kind. The storage cannot be
      'sparse': that needs networks of SparseWrappers, as in SparseSacAgent.
  """
  trainings = compat.trainings_of(agent)
  names = [name for training in trainings for name in training.networks]
  if not names:
    raise UserError(
      f'sparsify_agent.agent is a {type(agent).__name__}, but must be a '
      'SacAgent, Td3Agent, DdpgAgent, DqnAgent or PPOAgent.'
    )
  if options.get('storage') == 'sparse':
    raise UserError(
      "sparsify_agent.storage is 'sparse', but must be 'masked': sparse "
      'storage needs networks built from SparseWrappers, as SparseSacAgent has.'
    )
  sparsities = (
    sparsity
    if isinstance(sparsity, Mapping)
    else dict.fromkeys(names, sparsity)
  )
  for name in sparsities:
    if name not in names:
      raise UserError(
        f'sparsify_agent.sparsity names the network {name!r}, but the networks '
        f'are {", ".join(names)}.'
      )
  layers = {}
  for training in trainings:
    trained, copies = [], []
    for name, (network, target) in training.networks.items():
      if name not in sparsities:
        continue
      arguments = {
        'sparsity': sparsities[name],
        'seed': wrappers.derive_seed(seed, name),
        **options,
      }
      layers[name] = wrappers.sparsify(network, **arguments)
      trained += layers[name]
      if target is not None:
        copies += wrappers.sparsify(target, **arguments)
        for copy, variable in zip(target.variables, network.variables):
          copy.assign(variable)
    if not trained:
      continue
    optimizer = sparse_optimizer.make_sparse_optimizer(
      training.optimizer,
      trained,
      schedule=schedule,
      seed=wrappers.derive_seed(seed, training.name),
      period=training.period,
      copies=[copies] if copies else (),
    )
    setattr(agent, training.name, optimizer)
  return layers
