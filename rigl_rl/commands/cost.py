"""Prints what the networks of a gin file cost: parameters, FLOPs, memory.

  python -m launch.cost \\
    --gin_files=gin_configs/graesser22/dqn_atari_cnn/rigl.gin \\
    --gin_bindings='GAME="MsPacman"' --sparsities=0.5,0.8,0.9,0.95

Only the networks that training updates are built. FLOPs are those of one
example: forward, and in one gradient step, as a mean over training
(Evci et al., 2020). In an actor-critic agent each network counts for its own
update: the critics' part in the actor's loss is left out, and so are target
networks. In the sum a network that is trained every second step counts half.

For an off-policy actor-critic agent a line gives the FLOPs of the whole
training as Sokar et al. (2022) count them: weights without biases, in all
environment steps, even before the first gradient step; the actor's as often as
it is trained.

--sparsities adds a row for each sparsity (of every network), with the gin
file's distribution, ERK and uniform: figure 7 of Graesser et al. (2022). All λ
of erdos_renyi_lambda are scaled by one factor, to reach it.
"""

from __future__ import annotations

import argparse
from typing import Any, Sequence

from rigl_rl import quiet, wording
from rigl_rl.commands import command_line
from rigl_rl.config import checking
from rigl_rl.errors import UserError
from rigl_rl.training import paths


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('cost', __doc__)
  command_line.add_gin_arguments(parser)
  parser.add_argument(
    '--num_actions',
    type=int,
    metavar='N',
    help="number of actions, or of their dimensions (default: the task's own)",
  )
  parser.add_argument(
    '--sparsities',
    metavar='S,S,...',
    help='sparsities to compare, separated by commas',
  )
  parser.add_argument(
    '--csv',
    metavar='FILE',
    help='write the table there too, by sparsity if there is one, or by '
    'layer; its directory is created if missing',
  )
  command_line.add_thread_arguments(parser)
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _cost(arguments))


def _cost(arguments: argparse.Namespace) -> None:
  sparsities = _parse_sparsities(arguments.sparsities)
  command_line.check_at_least(arguments, num_actions=1)
  checking.check(arguments.gin_files, arguments.gin_bindings)
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    # Before gin parses: nothing can be made configurable afterwards.
    from rigl_rl import costs
    from rigl_rl.config import parsing

    parsing.parse(arguments.gin_files, arguments.gin_bindings)
    job = costs.read_job(arguments.num_actions)

  rows = costs.layer_rows(job)
  print(job.title())
  print()
  _print_table(rows)
  print()
  _print_totals(job)
  if sparsities:
    rows = costs.sparsity_rows(job, sparsities)
    print()
    _print_table(rows)
  if arguments.csv:
    table = command_line.to_csv(list(rows[0]), rows)
    paths.write(arguments.csv, table, '--csv')


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


def _print_totals(job) -> None:
  from rigl_rl import costs
  from rigl_rl.sparsity import counting

  sparse, dense = job.counts, job.dense_counts
  size, dense_size = costs.together(sparse), costs.together(dense)
  rows = {
    'parameters': f'{size.parameters:,} ({size.active_weights:,} active '
    f'weights, {size.biases:,} biases)'
  }
  mismatches = {
    name: f'{100 * network.size_mismatch:+.2f} %'
    for name, network in job.networks.items()
    if network.size_mismatch is not None
  }
  if mismatches:
    rows['mismatch'] = (
      f'{costs.by_network(mismatches)} of the parameters that these dense '
      'networks match'
    )
  if 'actor' in sparse:
    share = sparse['actor'].parameters / size.parameters
    dense_share = dense['actor'].parameters / dense_size.parameters
    rows["actor's share"] = (
      f'{share:.4f} of the parameters; {dense_share:.4f} if no weight were zero'
    )
  share = size.forward_flops / size.dense_forward_flops
  rows['forward FLOPs'] = f'{size.forward_flops:.4g}, {share:.3f} of dense'
  training = job.training_flops(sparse)
  in_all = training * job.batch_size * job.gradient_steps
  steps = costs.by_network(
    {name: f'{x.gradient_steps:,}' for name, x in job.networks.items()}
  )
  rows['training FLOPs'] = (
    f'{training:.4g} per example, '
    f'{training / job.training_flops(dense):.3f} of dense; '
    f'{in_all:.4g} in all ({steps} gradient steps of {job.batch_size})'
  )
  if job.environment_steps is not None:
    by_weights = job.training_flops_by_weights(sparse)
    share = by_weights / job.training_flops_by_weights(dense)
    rows['by Sokar et al.'] = (
      f'{by_weights:.5g} training FLOPs in all, {share:.3f} of dense '
      f'({job.environment_steps:,} environment steps)'
    )
  stored, simulated = (
    counting.memory_bytes(size, simulated=is_simulated) / 1e6
    for is_simulated in (False, True)
  )
  rows['memory'] = (
    f"{stored:.4g} MB of active weights, biases and Adam's slots; "
    f'{simulated:.4g} MB with masks'
  )
  for name, text in rows.items():
    print(f'{name:15} {text}')


_FORMATS = {
  **dict.fromkeys(('active', 'of', 'biases', 'parameters'), '{:,}'),
  **dict.fromkeys(('forward_flops', 'training_flops'), '{:.4g}'),
  **dict.fromkeys(('sparsity', 'forward_share', 'training_share'), '{:.4f}'),
}


def _print_table(rows: list[dict[str, Any]]) -> None:
  """Prints rows in columns: words to the left, numbers to the right."""
  head = '|'.join(rows[0]).replace('flops', 'FLOPs').replace('share', '/ dense')
  lines = [
    [_FORMATS.get(name, '{}').format(value) for name, value in row.items()]
    for row in rows
  ]
  right = [number for number, name in enumerate(rows[0]) if name in _FORMATS]
  print(wording.columns([head.replace('_', ' ').split('|'), *lines], right))
