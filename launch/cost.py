"""Prints what the network of a gin file costs: parameters, FLOPs, memory.

  python -m launch.cost \\
    --gin_files=gin_configs/graesser22/dqn_atari_cnn/rigl.gin \\
    --gin_bindings='GAME="MsPacman"' --sparsities=0.5,0.8,0.9,0.95

The network is built, and no environment. FLOPs are those of one example:
forward, and in one gradient step, as a mean over training (Evci et al., 2020).
--sparsities adds a row for each sparsity, with the gin file's distribution, ERK
and uniform: figure 7 of Graesser et al. (2022).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import inspect
import io
import sys
from typing import Any, Sequence

from launch import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import quiet


@dataclasses.dataclass(frozen=True)
class _Job:
  """What a gin file trains, as far as it bears on the cost.

  Attributes:
    title: the network, its task and method.
    network: its NetworkCount, at the target sparsity.
    dense_layers: names of the layers that no distribution applies to.
    distribution: the gin file's, as `sparsify` calls it.
    algorithm: the gin file's.
    schedule: when masks change.
    gradient_steps: of the whole training.
    batch_size: examples in a minibatch.
  """

  title: str
  network: Any
  dense_layers: frozenset[str]
  distribution: Any
  algorithm: Any
  schedule: Any
  gradient_steps: int
  batch_size: int


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('launch.cost', __doc__)
  parser.add_argument(
    '--num_actions',
    type=int,
    metavar='N',
    help="number of actions (default: the task's own)",
  )
  parser.add_argument(
    '--sparsities',
    metavar='S,S,...',
    help='sparsities to compare, separated by commas',
  )
  parser.add_argument(
    '--csv',
    metavar='FILE',
    help='write the table there too: by sparsity, if there is one, or by layer',
  )
  command_line.add_thread_arguments(parser)
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _cost(arguments))


def _cost(arguments: argparse.Namespace) -> None:
  sparsities = _parse_sparsities(arguments.sparsities)
  if arguments.num_actions is not None and arguments.num_actions < 1:
    raise UserError(
      f'--num_actions is {arguments.num_actions}, but must be at least 1.'
    )
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    from rigl_rl import configs

    # Before gin parses: nothing can be made configurable afterwards.
    from rigl_rl.agents import dqn  # noqa: F401
    from rigl_rl.training import dopamine_runner, run  # noqa: F401

    configs.parse(arguments.gin_files, arguments.gin_bindings)
    job = _read_job(arguments.num_actions)

  rows = layer_rows(job)
  print(job.title)
  print()
  _print_table(rows)
  print()
  _print_totals(job)
  if sparsities:
    rows = sparsity_rows(job, sparsities)
    print()
    _print_table(rows)
  if arguments.csv:
    _write_csv(arguments.csv, rows)


def _parse_sparsities(text: str | None) -> list[float]:
  if text is None:
    return []
  try:
    values = [float(value) for value in text.split(',')]
  except ValueError:
    values = []
  if not values or not all(0 <= value < 1 for value in values):
    raise UserError(
      f'--sparsities is {text!r}, but must be numbers in [0, 1), separated '
      'by commas.'
    )
  return values


def _read_job(num_actions: int | None) -> _Job:
  """Builds the network of the gin config that has been parsed."""
  from rigl_rl.agents import dqn
  from rigl_rl.sparsity import counting, schedules, wrappers
  from rigl_rl.training import run

  task = _bindings(run.train)['task']
  seed = _bindings(run.train)['seed']
  observation_shape, task_actions = _find_spaces(task)
  if num_actions is None:
    num_actions = task_actions
  model, layers = dqn.build_network(num_actions, observation_shape, seed=seed)
  network = counting.count_network(model, layers)
  algorithm = layers[0].algorithm

  agent = _bindings(dqn.SparseDQNAgent)
  gradient_steps = (
    _bindings(run.train)['train_steps'] - agent['min_replay_history']
  ) // agent['update_period']
  sparse = {id(layer.layer) for layer in layers}
  dense_layers = frozenset(
    name
    for name, layer in wrappers.named_layers(model).items()
    if id(getattr(layer, 'layer', layer)) not in sparse
  )
  return _Job(
    title=(
      f'{type(model).__name__} on {task or "an unnamed task"}, '
      f'{num_actions} actions, width {_format_width(model)}: '
      f'{type(algorithm).__name__}, sparsity {network.sparsity:.4g}'
    ),
    network=network,
    dense_layers=dense_layers,
    distribution=_bindings(wrappers.sparsify)['distribution'],
    algorithm=algorithm,
    schedule=schedules.UpdateSchedule(gradient_steps),
    gradient_steps=gradient_steps,
    batch_size=agent['batch_size'],
  )


def _bindings(configurable) -> dict[str, Any]:
  """Returns a configurable's arguments as gin binds them, or their defaults."""
  import gin

  defaults = {
    name: parameter.default
    for name, parameter in inspect.signature(configurable).parameters.items()
    if parameter.default is not parameter.empty
  }
  bound = {**defaults, **gin.get_bindings(configurable)}
  for name, value in bound.items():
    if value is gin.REQUIRED:
      raise UserError(
        f'{configurable.__name__}.{name} is not bound, but must be: '
        '--gin_files has to name a whole run.'
      )
  return bound


def _find_spaces(task: str) -> tuple[tuple[int, ...], int]:
  """Returns observation shape and number of actions of the config's task."""
  from rigl_rl.environments import spaces
  from rigl_rl.training import dopamine_runner

  create = _bindings(dopamine_runner.DopamineRunner)['create_environment']
  full_action_set = _bindings(create).get('full_action_set', False)
  found = spaces.find_spaces(task, full_action_set)
  if found is not None:
    return found.observation_shape, found.num_actions
  # Only a task that the papers do not have is built, to be asked.
  environment = create(seed=0)
  try:
    return (
      tuple(environment.observation_space.shape),
      int(environment.action_space.n),
    )
  finally:
    environment.close()


def _format_width(model) -> str:
  width = getattr(model, 'width', 1.0)
  if isinstance(width, (int, float)):
    return f'{width:g}'
  return '(' + ', '.join(f'{value:g}' for value in width) + ')'


def layer_rows(job: _Job) -> list[dict[str, Any]]:
  """Returns the table by layer, the network as a whole last."""
  from rigl_rl.sparsity import counting

  rows = []
  for layer in job.network.layers:
    rows.append(
      {
        'layer': layer.name,
        'kernel': '×'.join(map(str, layer.kernel_shape)),
        'sparsity': layer.sparsity,
        'active': layer.active_weights,
        'of': layer.weights,
        'biases': layer.biases,
        'forward_flops': layer.forward_flops,
        'training_flops': counting.layer_training_flops(
          layer, job.algorithm, job.schedule, job.gradient_steps
        ),
      }
    )
  network = job.network
  rows.append(
    {
      'layer': 'total',
      'kernel': '',
      'sparsity': network.sparsity,
      'active': network.active_weights,
      'of': network.weights,
      'biases': network.biases,
      'forward_flops': network.forward_flops,
      'training_flops': _training_flops(job, network),
    }
  )
  return rows


def sparsity_rows(
  job: _Job, sparsities: Sequence[float]
) -> list[dict[str, Any]]:
  """Returns the table by sparsity and distribution; costs also over dense."""
  from rigl_rl.sparsity import algorithms, distributions

  choices = {
    _name(distribution): distribution
    for distribution in (
      job.distribution,
      distributions.erdos_renyi_kernel,
      distributions.uniform,
    )
  }
  dense = job.network.with_sparsities(dict.fromkeys(job.network.shapes, 0.0))
  shapes = {
    name: shape
    for name, shape in job.network.shapes.items()
    if name not in job.dense_layers
  }
  rows = []
  for name, distribution in choices.items():
    for sparsity in sparsities:
      network = dense
      if not isinstance(job.algorithm, algorithms.Dense):
        network = dense.with_sparsities(distribution(shapes, sparsity))
      training_flops = _training_flops(job, network)
      rows.append(
        {
          'distribution': name,
          'sparsity': sparsity,
          'parameters': network.parameters,
          'forward_flops': network.forward_flops,
          'forward_share': network.forward_flops / dense.forward_flops,
          'training_flops': training_flops,
          'training_share': training_flops / _training_flops(job, dense),
        }
      )
  return rows


def _training_flops(job: _Job, network) -> float:
  from rigl_rl.sparsity import counting

  return counting.training_flops(
    network, job.algorithm, job.schedule, job.gradient_steps
  )


def _name(distribution) -> str:
  name = getattr(distribution, '__name__', None)
  return name or type(distribution).__name__


def _print_totals(job: _Job) -> None:
  from rigl_rl.sparsity import counting

  network = job.network
  training = _training_flops(job, network)
  dense_training = 3 * network.dense_forward_flops
  print(
    f'parameters      {network.parameters:,} '
    f'({network.active_weights:,} active weights, {network.biases:,} biases)'
  )
  print(
    f'forward FLOPs   {network.forward_flops:.4g}, '
    f'{network.forward_flops / network.dense_forward_flops:.3f} of dense'
  )
  print(
    f'training FLOPs  {training:.4g} by example, '
    f'{training / dense_training:.3f} of dense; '
    f'{training * job.batch_size * job.gradient_steps:.4g} in all '
    f'({job.gradient_steps:,} gradient steps of {job.batch_size})'
  )
  sparse_bytes = counting.memory_bytes(network)
  simulated_bytes = counting.memory_bytes(network, simulated=True)
  print(
    f'memory          {sparse_bytes / 1e6:.4g} MB of active weights, biases '
    f"and Adam's slots; {simulated_bytes / 1e6:.4g} MB as masks simulate it"
  )


_FORMATS = {
  'sparsity': '{:.4f}',
  'active': '{:,}',
  'of': '{:,}',
  'biases': '{:,}',
  'parameters': '{:,}',
  'forward_flops': '{:.4g}',
  'training_flops': '{:.4g}',
  'forward_share': '{:.4f}',
  'training_share': '{:.4f}',
}


def _print_table(rows: list[dict[str, Any]]) -> None:
  """Prints rows in columns: words to the left, numbers to the right."""
  words = {'flops': 'FLOPs', 'share': '/ dense'}
  lines = [
    [
      ' '.join(words.get(word, word) for word in name.split('_'))
      for name in rows[0]
    ]
  ]
  for row in rows:
    lines.append(
      [_FORMATS.get(name, '{}').format(value) for name, value in row.items()]
    )
  column_widths = [max(map(len, column)) for column in zip(*lines)]
  for line in lines:
    cells = []
    for name, cell, width in zip(rows[0], line, column_widths):
      cells.append(cell.rjust(width) if name in _FORMATS else cell.ljust(width))
    print('  '.join(cells).rstrip())


def _write_csv(path: str, rows: list[dict[str, Any]]) -> None:
  import tensorflow as tf

  from rigl_rl.training import files

  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  try:
    files.write_file(path, text.getvalue())
  except (OSError, tf.errors.OpError) as error:
    raise UserError(
      f'--csv is {path!r}, but must be a file that can be written: '
      f'{str(error).splitlines()[0]}'
    ) from error


if __name__ == '__main__':
  sys.exit(main())
