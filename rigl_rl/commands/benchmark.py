"""Measures speed, in (environment) steps per second, as ratios.

  python -m launch.benchmark dqn --task=CartPole-v0 --rounds=5

Each contender trains in a process of its own. They take turns, so that a
machine whose speed drifts is equally fast for all of them: compare the ratios.
What runs is printed to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Mapping, Sequence

from rigl_rl import wording
from rigl_rl.benchmarks import (
  benchmark,
  dqn,
  layers,
  machine,
  mujoco,
  sparse,
)
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import paths, provenance

_PEERS = pathlib.Path(benchmark.__file__).parent / 'peers.py'
BENCHMARKS = {
  'dqn': dqn.BENCHMARK,
  **mujoco.BENCHMARKS,
  'sparse': sparse.BENCHMARK,
  'layers': layers.BENCHMARK,
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  argv = list(sys.argv[1:] if argv is None else argv)
  parser = command_line.make_parser('benchmark', __doc__)
  subjects = parser.add_subparsers(dest='subject', required=True)
  for name, chosen in BENCHMARKS.items():
    subject = subjects.add_parser(name)
    chosen.add_arguments(subject)
    if chosen.peers:
      libraries = dict.fromkeys(peer.split('_')[0] for peer in chosen.peers)
      subject.add_argument(
        '--peers_python',
        help=f'a Python that has {", ".join(libraries)} installed, such as '
        'peers/bin/python (default: they are left out)',
      )
    subject.add_argument(
      '--rounds', type=int, default=5, help='turns of each (default: 5)'
    )
    subject.add_argument(
      '--seconds',
      type=float,
      default=5.0,
      help='length of a turn, about (default: 5)',
    )
    subject.add_argument(
      '--warm_up',
      type=float,
      default=5.0,
      metavar='SECONDS',
      help='each contender trains for so long before the first turn, once its '
      'buffer is filled and its steps are traced (default: 5)',
    )
    subject.add_argument(
      '--contenders', help='names, separated by commas (default: all)'
    )
    subject.add_argument(
      '--out',
      type=pathlib.Path,
      help='a directory, for all turns as CSV, and a figure of time against '
      'sparsity where there is one (default: nothing is written)',
    )
    subject.add_argument('--worker', help=argparse.SUPPRESS)
    command_line.add_thread_arguments(subject)
  arguments = parser.parse_args(argv)
  if arguments.worker:
    return command_line.run(lambda: _work(arguments))
  return command_line.run(lambda: _compare(arguments, argv))


def _work(arguments: argparse.Namespace) -> None:
  """Trains as many steps as each line of stdin says; prints steps and time."""
  command_line.start_tensorflow(arguments)
  train = BENCHMARKS[arguments.subject].make(arguments.worker, arguments)
  for line in sys.stdin:
    begin = time.perf_counter()
    steps = train(int(line))
    print(f'turn {steps} {time.perf_counter() - begin}', flush=True)


class _Worker:
  """A contender in a process of its own."""

  def __init__(self, contender: str, command: list[str]):
    self._contender = contender
    try:
      self._process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
      )
    except OSError as error:
      raise UserError(
        f'--peers_python is {command[0]!r}, which cannot be started '
        f'({error.strerror}); it must be a Python.'
      ) from error

  def train(self, steps: int) -> float:
    """Trains some steps; returns environment steps per second."""
    with contextlib.suppress(BrokenPipeError):  # It has ended: reported below.
      self._process.stdin.write(f'{steps}\n')
      self._process.stdin.flush()
    for line in self._process.stdout:
      if line.startswith('turn '):
        _, done, seconds = line.split()
        return int(done) / float(seconds)
    raise UserError(
      f'{self._contender} ended with code {self._process.wait()}.'
    )

  def close(self) -> None:
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()


def _compare(arguments: argparse.Namespace, argv: list[str]) -> None:
  command_line.check_at_least(arguments, rounds=1)
  subject = BENCHMARKS[arguments.subject]
  names = _choose(subject, arguments)
  if arguments.out is not None:
    _make_directory(arguments.out)
  peak = machine.peak()
  cores = wording.count(machine.cores(arguments), 'core')
  print(
    f'{provenance.processor()}, {cores}; peak of one: {peak / 1e9:.3g} billion '
    'multiply-adds/s, as NumPy multiplies matrices',
    flush=True,
  )
  references = [name for name in subject.references if name in names]
  found: dict[float | None, dict[str, list[float]]] = {}
  for width in getattr(arguments, 'width', [None]):
    flags = argv
    if width is not None:
      flags = [*argv, f'--width={width:g}']
      _say(f'Width {width:g}:')
    found[width] = {name: [] for name in names}
    _measure(subject, arguments, flags, found, width)
    shares = _shares(subject, found[width], peak, arguments)
    if width is not None:
      print(f'Width {width:g}')
    _print_table(found[width], references or names[:1], shares)
  if arguments.out is not None:
    _save_figure(found, arguments)


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _measure(
  subject: benchmark.Benchmark,
  arguments: argparse.Namespace,
  argv: Sequence[str],
  found: Mapping[float | None, Mapping[str, list[float]]],
  width: float | None,
) -> None:
  """Appends the steps per second of each turn to `found[width]`."""
  rates = found[width]
  names = list(rates)

  def command(name):
    if name in subject.peers:
      return [
        arguments.peers_python,
        str(_PEERS),
        *subject.peer_arguments(name, arguments),
      ]
    own = (sys.executable, '-m', 'rigl_rl.commands', 'benchmark')
    return [*own, *argv, f'--worker={name}']

  _say(f'Starting {", ".join(names)}')
  workers = {}
  try:
    for name in names:
      workers[name] = _Worker(name, command(name))
    steps = {
      name: _warm_up(subject, name, worker, arguments)
      for name, worker in workers.items()
    }
    for turn in range(arguments.rounds):
      for name in names if turn % 2 == 0 else names[::-1]:
        rates[name].append(workers[name].train(steps[name]))
        _say(
          f'Turn {turn + 1} of {arguments.rounds}: {name}, '
          f'{rates[name][-1]:.4g} steps/s'
        )
      if arguments.out is not None:
        _save_turns(found, arguments)
  finally:
    for worker in workers.values():
      worker.close()


def _choose(
  subject: benchmark.Benchmark, arguments: argparse.Namespace
) -> Sequence[str]:
  """Returns the contenders that are asked for, or all that there can be."""
  has_python = getattr(arguments, 'peers_python', None) is not None
  peers = () if has_python else subject.peers
  if arguments.contenders is None:
    return [name for name in subject.contenders if name not in peers]
  names = list(dict.fromkeys(arguments.contenders.split(',')))
  unknown = set(names) - set(subject.contenders)
  if unknown:
    raise UserError(
      f'--contenders names {", ".join(sorted(unknown))}, but allowed are '
      f'{", ".join(subject.contenders)}.'
    )
  missing = [name for name in names if name in peers]
  if missing:
    raise UserError(
      f'--contenders names {", ".join(missing)}, which takes '
      '--peers_python: a Python that has the library.'
    )
  return names


def _warm_up(
  subject: benchmark.Benchmark,
  name: str,
  worker: _Worker,
  arguments: argparse.Namespace,
) -> int:
  """Trains for some time; returns how many steps fill a turn."""
  _say(f'Warming up {name}')
  worker.train(subject.first_steps)
  end = time.monotonic() + arguments.warm_up
  steps = subject.least_steps
  while True:
    rate = worker.train(steps)
    left = end - time.monotonic()
    if left <= 0:
      return max(subject.least_steps, int(rate * arguments.seconds))
    steps = max(subject.least_steps, min(2 * steps, int(rate * left)))


def _shares(
  subject: benchmark.Benchmark,
  rates: Mapping[str, Sequence[float]],
  peak: float,
  arguments: argparse.Namespace,
) -> dict[str, float]:
  """Returns the share of the machine's peak that each contender reaches."""
  if subject.multiply_adds is None:
    return {}
  peak *= machine.cores(arguments)
  return {
    name: statistics.median(values)
    * subject.multiply_adds(name, arguments)
    / peak
    for name, values in rates.items()
  }


def _print_table(
  rates: Mapping[str, Sequence[float]],
  references: Sequence[str],
  shares: Mapping[str, float],
) -> None:
  """Prints rates by turn: median, range, share of peak, ratios to references'.

  Args:
    rates: by contender, steps/s of each turn.
    references: contenders that ratios are to.
    shares: by contender, of the peak; empty if they are not known.
  """
  peak = ['of peak'] if shares else []
  ratios_to = [f'ratio to {reference}' for reference in references]
  lines = [['', 'steps/s', 'min', 'max', *peak, *ratios_to]]
  for name, values in rates.items():
    numbers = (statistics.median(values), min(values), max(values))
    line = [name, *(f'{number:.4g}' for number in numbers)]
    if shares:
      line.append(f'{100 * shares[name]:.3g} %')
    for reference in references:
      ratios = [a / b for a, b in zip(values, rates[reference])]
      line.append(
        f'{statistics.median(ratios):.3f} '
        f'({min(ratios):.3f} to {max(ratios):.3f})'
      )
    lines.append(line)
  print(wording.columns(lines, right=range(1, 4 + len(peak))), flush=True)


def _make_directory(path: pathlib.Path) -> None:
  """Makes the directory of --out: what is measured for hours is not lost."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f'--out is {str(path)!r}, but must be a directory that can be made '
      f'({error.strerror}).'
    ) from error


def _save_turns(
  found: Mapping[float | None, Mapping[str, Sequence[float]]],
  arguments: argparse.Namespace,
) -> None:
  """Writes the steps per second of all turns so far."""
  import pandas as pd

  from rigl_rl.analysis import tables

  parts = []
  for width, rates in found.items():
    turns = pd.DataFrame(rates).rename_axis('turn').reset_index()
    if width is not None:
      turns.insert(0, 'width', width)
    parts.append(turns)
  path = str(arguments.out / 'steps_per_second.csv')
  paths.write(path, tables.to_csv(pd.concat(parts)).encode('utf-8'))


def _save_figure(
  found: Mapping[float | None, Mapping[str, Sequence[float]]],
  arguments: argparse.Namespace,
) -> None:
  """Writes times against sparsity, and their figure, if there are any."""
  import pandas as pd

  from rigl_rl.analysis import tables
  from rigl_rl.analysis.figures import speed, style

  def write(name, data):
    paths.write(str(arguments.out / name), data)

  times = pd.concat(
    speed.relative_times(rates).assign(width=width)
    for width, rates in found.items()
  ).dropna(axis='columns', how='all')
  if times.empty:
    return
  write('time_against_sparsity.csv', tables.to_csv(times).encode('utf-8'))
  title = [f'launch.benchmark {arguments.subject}']
  for name in ('agent', 'task', 'shape'):
    if getattr(arguments, name, None) is not None:
      title.append(f'{name} {getattr(arguments, name)}')
  figure = speed.time_against_sparsity(
    times,
    ', '.join(title),
    [
      f'Medians and ranges of {wording.count(arguments.rounds, "turn")}, each '
      'against dense.'
    ],
  )
  for kind in ('png', 'pdf'):
    write(f'time_against_sparsity.{kind}', style.rendered(figure, kind))
