"""Run directories as training leaves them, without any training."""

from __future__ import annotations

import json
import math
import pathlib
import zlib
from typing import Any, Mapping, Sequence

import numpy as np

from rigl_rl.config import gin_text
from rigl_rl.training import attributes

# Kernels of the networks that an agent trains, by agent and network.
_KERNELS = {
  ('DQN', 'MLP'): {'online': [(4, 512), (512, 512), (512, 2)]},
  ('DQN', 'CNN'): {
    'online': [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64), (7744, 512)]
  },
  ('DQN', 'ResNet'): {'online': [(3, 3, 4, 32), (3, 3, 32, 64), (7744, 560)]},
  ('SAC', 'MLP'): {
    'actor': [(17, 256), (256, 256), (256, 12)],
    'critic_1': [(23, 256), (256, 256), (256, 1)],
    'critic_2': [(23, 256), (256, 256), (256, 1)],
  },
  ('PPO', 'MLP'): {
    'actor': [(17, 64), (64, 64), (64, 6)],
    'value': [(17, 64), (64, 64), (64, 1)],
  },
  ('TD3', 'MLP'): {
    'actor': [(17, 256), (256, 256), (256, 6)],
    'critic_1': [(23, 256), (256, 256), (256, 1)],
    'critic_2': [(23, 256), (256, 256), (256, 1)],
  },
}
_GIN_NETWORKS = {
  'MLP': 'MLPQNetwork',
  'CNN': 'NatureQNetwork',
  'ResNet': 'ImpalaQNetwork',
}
_ACTORS = {
  'SAC': 'SquashedGaussianActor',
  'TD3': 'DeterministicActor',
  'PPO': 'GaussianActor',
}
_ALGORITHMS = {
  'Dense': 'Dense',
  'Small dense': 'Dense',
  'Static': 'Static',
  'SET': 'SET',
  'RigL': 'RigL',
  'Pruning': 'Prune',
  'TD3': 'Dense',
  'Static-TD3': 'Static',
  'DS-TD3': 'DS',
  'SAC': 'Dense',
  'DS-SAC': 'DS',
}


def config(
  agent: str,
  task: str,
  algorithm: str,
  sparsity: float | None = 0.9,
  seed: int = 0,
  network: str = 'MLP',
  distribution: str = 'erdos_renyi_kernel',
  train_steps: int = 100_000,
  more: Mapping[str, Any] | None = None,
) -> str:
  """Returns a config, as short as it can be; the operative one is the same.

  Args:
    agent: 'DQN', 'SAC', 'PPO' or 'TD3'.
    task: with its version.
    algorithm: a class of `rigl_rl.sparsity.algorithms`.
    sparsity: SPARSITY.
    seed: SEED.
    network: 'MLP', 'CNN' or 'ResNet'.
    distribution: a function's name.
    train_steps: TRAIN_STEPS.
    more: further bindings, as Python values, or text that begins with @ or %;
      they go last, and so win.
  """
  bound = {
    'ENV_NAME': task,
    'SPARSITY': sparsity,
    'WIDTH': 1.0,
    'SEED': seed,
    'TRAIN_STEPS': train_steps,
    'train.task': '%ENV_NAME',
    'train.seed': '%SEED',
    'train.train_steps': '%TRAIN_STEPS',
    'train.paper': (
      'sokar22' if distribution == 'erdos_renyi_lambda' else 'graesser22'
    ),
    'sparsify.algorithm': f'@{algorithm}()',
    'sparsify.distribution': f'@{distribution}',
    'sparsify.initializer': '@sparsity_aware',
    'UpdateSchedule.interval': 1000,
  }
  if algorithm in ('SET', 'RigL', 'DS'):
    bound[f'{algorithm}.drop_fraction'] = 0.3
  if agent == 'DQN':
    gin_network = _GIN_NETWORKS[network]
    bound.update(
      {
        'train.runner': '@DopamineRunner',
        'build_network.network': f'@{gin_network}',
        f'{gin_network}.weight_decay': 1e-6,
        f'{gin_network}.width': '%WIDTH',
        'SparseDQNAgent.batch_size': 128,
        'sparsify.sparsity': '%SPARSITY',
      }
    )
  else:
    loop = 'PPOLoop' if agent == 'PPO' else 'ActorCriticLoop'
    bound_agent = (
      'SparsePPOAgent'
      if agent == 'PPO'
      else (f'Sparse{agent.capitalize()}Agent')
    )
    bound.update(
      {
        'ACTOR_WIDTH': '%WIDTH',
        'CRITIC_WIDTH': '%WIDTH',
        'ACTOR_SPARSITY': '%SPARSITY',
        'CRITIC_SPARSITY': '%SPARSITY',
        'train.runner': f'@{loop}',
        f'{loop}.create_agent': f'@{bound_agent}',
        f'{bound_agent}.actor': f'@{_ACTORS[agent]}',
        f'{_ACTORS[agent]}.width': '%ACTOR_WIDTH',
        f'{bound_agent}.critic': '@Critic',
        'Critic.width': '%CRITIC_WIDTH',
        'Critic.weight_decay': 1e-4,
        'TransitionBuffer.batch_size': 256,
        'actor/sparsify.sparsity': '%ACTOR_SPARSITY',
        'critic/sparsify.sparsity': '%CRITIC_SPARSITY',
        f'{bound_agent}.target_update_tau': 0.005,
      }
    )
    if agent == 'TD3':
      bound['SparseTd3Agent.actor_update_period'] = 2
  bound.update(more or {})
  lines = ['import rigl_rl.training.run']
  for name, value in bound.items():
    is_text = isinstance(value, str) and value[:1] not in '@%'
    lines.append(f'{name} = {value!r}' if is_text else f'{name} = {value}')
  return '\n'.join(lines) + '\n'


def write_config(directory: pathlib.Path, text: str) -> None:
  """Writes a run's config.gin, and into its run.json what that says it is."""
  (directory / 'config.gin').write_text(text)
  described = attributes.describe(gin_text.Config.of_text(text))
  change_record(directory, title='', modules_from='', **described)


def change_record(directory: pathlib.Path, **changes: Any) -> None:
  """Changes keys of a run's run.json, which need not be there."""
  path = directory / 'run.json'
  known = json.loads(path.read_text()) if path.exists() else {}
  text = json.dumps({**known, **changes})
  # As training writes it, without NaN.
  path.write_text(json.dumps(json.loads(text, parse_constant=lambda _: None)))


def _network(kernels, sparsity, algorithm, factor, period):
  layers, parameters, flops = {}, 0, 0
  for index, kernel in enumerate(kernels):
    kernel = list(kernel)
    kernel[-1] = max(round(kernel[-1] * factor), 1)
    weights = math.prod(kernel)
    active = weights - int(sparsity * weights)
    layers[f'layer{index}'] = {
      'kernel': kernel,
      'active_weights': active,
      'sparsity': sparsity,
    }
    parameters += active + kernel[-1]
    flops += 2 * active
  return {
    'algorithm': algorithm,
    'period': period,
    'size_mismatch': None,
    'layers': layers,
    'parameters': parameters,
    'sparsity': sparsity,
    'forward_flops': flops,
    'training_flops': 3.0 * flops,
  }


def write_run(
  directory: pathlib.Path,
  method: str = 'RigL',
  agent: str = 'DQN',
  task: str = 'CartPole-v0',
  score: float = 100.0,
  sparsity: float = 0.9,
  seed: int = 0,
  network: str = 'MLP',
  distribution: str = 'erdos_renyi_kernel',
  train_steps: int = 100_000,
  sweep: str = '',
  swept: Mapping[str, Any] | None = None,
  scale: float = 1.0,
  more: Mapping[str, Any] | None = None,
  evaluations: int = 10,
  finished: bool = True,
  actor_share: float | None = None,
  spread: float = 0.05,
  mismatches: Mapping[str, float] | None = None,
) -> pathlib.Path:
  """Writes a run directory.

  Args:
    directory: of the run.
    method: as figures name it.
    score: what returns rise to.
    sweep: of sweep.json; none is written if it is ''.
    swept: its bindings beyond SEED; those of `more` are among them.
    evaluations: how many; an unfinished run has half of them.
    finished: whether there is a summary.json.
    actor_share: in both JSON files; None for that of the kernels.
    spread: of scores from seed to seed, as a share of `score`.
    mismatches: by network, `size_mismatch`; 'online' of DQN.
    others: see `config`.

  Returns:
    The directory.
  """
  algorithm = _ALGORITHMS.get(method, method)
  more = dict(more or {})
  factor = 1.0
  if method == 'Small dense':
    more.setdefault('WIDTH', '@matched_width')
    more.setdefault('matched_width.sparsity', sparsity)
    factor = 1 - sparsity
  directory.mkdir(parents=True)
  write_config(
    directory,
    config(
      agent,
      task,
      algorithm,
      sparsity,
      seed,
      network,
      distribution,
      train_steps,
      more,
    ),
  )
  zeros = 0.0 if algorithm == 'Dense' else sparsity
  networks = {}
  for name, kernels in _KERNELS[agent, network].items():
    period = 2 if (agent, name) == ('TD3', 'actor') else 1
    networks[name] = _network(kernels, zeros, algorithm, factor, period)
    networks[name]['size_mismatch'] = (mismatches or {}).get(name)
  sizes = {'networks': networks}
  sizes['parameters'] = sum(each['parameters'] for each in networks.values())
  if 'actor' in networks:
    share = networks['actor']['parameters'] / sizes['parameters']
    sizes['actor_share'] = share if actor_share is None else actor_share
  change_record(directory, made_with=[], **sizes)
  if sweep:
    bindings = {'SEED': seed, 'ENV_NAME': task, **(swept or {}), **more}
    (directory / 'sweep.json').write_text(
      json.dumps(
        {
          'sweep': sweep,
          'label': method,
          'bindings': bindings,
          'seed': seed,
          'scale': scale,
        }
      )
    )
  rng = np.random.default_rng(zlib.crc32(str(directory).encode()))
  top = score + abs(score) * spread * rng.standard_normal()
  shares = np.arange(1, evaluations + 1) / evaluations
  if not finished:
    shares = shares[: evaluations // 2]
  low = score - 1.5 * abs(score)
  returns = low + (top - low) * (1 - np.exp(-5 * shares)) / (1 - math.exp(-5))
  lines = ['step,return_mean,return_std,episodes']
  for share, value in zip(shares, returns.tolist()):
    lines.append(f'{round(share * train_steps)},{value!r},1.5,20')
  (directory / 'evaluations.csv').write_text('\n'.join(lines) + '\n')
  if not finished:
    return directory

  summary = {
    'finished': True,
    'final_score': float(returns[-1]),
    'learning_curve_area': float(np.mean(returns)),
    'learning_curve_area_per_step': float(np.sum(returns) / train_steps),
    'steps': train_steps,
    'seconds': 60.0,
    'gradient_steps': train_steps - 1000,
  }
  summary.update(sizes)
  (directory / 'summary.json').write_text(json.dumps(summary))
  return directory


def write_events(
  run: pathlib.Path,
  events: Sequence[tuple[int, Mapping[str, float]]],
  time: int = 1,
) -> pathlib.Path:
  """Writes an event file of TensorBoard.

  Args:
    run: the run directory.
    events: of each a step, and scalars by name.
    time: at which the file was begun.

  Returns:
    Its path.
  """
  from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
  from tensorboard.summary.writer import record_writer

  path = run / 'events' / f'events.out.tfevents.{time:010}.host.1.0.v2'
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('wb') as file:
    writer = record_writer.RecordWriter(file)
    for step, scalars in events:
      values = [
        summary_pb2.Summary.Value(
          tag=name,
          tensor=tensor_pb2.TensorProto(dtype=1, float_val=[value]),
        )
        for name, value in scalars.items()
      ]
      event = event_pb2.Event(
        step=step, summary=summary_pb2.Summary(value=values)
      )
      writer.write(event.SerializeToString())
  return path
