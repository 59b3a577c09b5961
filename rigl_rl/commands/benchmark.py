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
from typing import Any, Mapping, Sequence

from rigl_rl import wording
from rigl_rl.benchmarks import agents, benchmark, layers, machine
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import paths, provenance

_PEERS = pathlib.Path(benchmark.__file__).parent / 'peers.py'
BENCHMARKS: dict[str, benchmark.Benchmark] = {
  **agents.BENCHMARKS,
  'layers': layers.Layers(),
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  argv = list(sys.argv[1:] if argv is None else argv)
  parser = command_line.make_parser('benchmark', __doc__)
  subjects = parser.add_subparsers(dest='subject', required=True)
  for name, chosen in BENCHMARKS.items():
    subject = subjects.add_parser(name)
    add = subject.add_argument
    chosen.add_arguments(subject)
    if chosen.peers:
      libraries = dict.fromkeys(peer.split('_')[0] for peer in chosen.peers)
      add(
        '--peers_python',
        help=f'a Python that has {", ".join(libraries)} installed, such as '
        'peers/bin/python (default: they are left out)',
      )
    add('--rounds', type=int, default=12, help='turns of each (default: 12)')
    length = 'length of a turn, about (default: 2)'
    add('--seconds', type=float, default=2.0, help=length)
    add(
      '--warm_up',
      type=float,
      default=5.0,
      metavar='SECONDS',
      help='each contender trains for so long before the first turn, once its '
      'buffer is filled and its steps are traced (default: 5)',
    )
    add('--contenders', help='names, separated by commas (default: all)')
    add(
      '--out',
      type=pathlib.Path,
      help='a directory, for all turns as CSV, and a figure of time against '
      'sparsity where there is one (default: nothing is written)',
    )
    add('--worker', help=argparse.SUPPRESS)
    command_line.add_thread_arguments(subject)
  arguments = parser.parse_args(argv)
  if arguments.worker:
    return command_line.run(lambda: _work(arguments))
  return command_line.run(lambda: _Comparison(arguments, argv).run())


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


class _Comparison:
  """Turns of all contenders, at each width if the benchmark has widths."""

  def __init__(self, arguments: argparse.Namespace, argv: Sequence[str]):
    command_line.check_at_least(arguments, rounds=1)
    self._arguments = arguments
    self._argv = argv
    self._subject = BENCHMARKS[arguments.subject]
    self._names = self._choose()
    # By width and contender, steps/s of each turn.
    self._found: dict[float | None, dict[str, list[float]]] = {}

  def run(self) -> None:
    """Measures and prints; writes what --out asks for."""
    arguments = self._arguments
    if arguments.out is not None:
      _make_directory(arguments.out)
    peak = machine.peak()
    cores = machine.cores(arguments)
    print(
      f'{provenance.processor()}, {wording.count(cores, "core")}; peak of one: '
      f'{peak / 1e9:.3g} billion multiply-adds/s, as NumPy multiplies matrices',
      flush=True,
    )
    for width in getattr(arguments, 'width', [None]):
      flags = self._argv
      if width is not None:
        flags = [*flags, f'--width={width:g}']
        _say(f'Width {width:g}:')
      rates = self._found[width] = {name: [] for name in self._names}
      self._measure(rates, flags)
      if width is not None:
        print(f'Width {width:g}')
      self._print_table(rates, peak * cores)
    if arguments.out is not None:
      self._save_figure()

  def _choose(self) -> Sequence[str]:
    """Returns the contenders that are asked for, or all that there can be."""
    allowed, wanted = self._subject.contenders, self._arguments.contenders
    has_python = getattr(self._arguments, 'peers_python', None) is not None
    peers = () if has_python else self._subject.peers
    if wanted is None:
      return [name for name in allowed if name not in peers]
    names = list(dict.fromkeys(wanted.split(',')))
    unknown = set(names) - set(allowed)
    if unknown:
      raise UserError(
        f'--contenders names {", ".join(sorted(unknown))}, but allowed are '
        f'{", ".join(allowed)}.'
      )
    missing = [name for name in names if name in peers]
    if missing:
      raise UserError(
        f'--contenders names {", ".join(missing)}, which takes '
        '--peers_python: a Python that has the library.'
      )
    return names

  def _command(self, name: str, flags: Sequence[str]) -> list[str]:
    """Returns what starts a contender's worker."""
    if name in self._subject.peers:
      own = self._subject.peer_arguments(name, self._arguments)
      return [self._arguments.peers_python, str(_PEERS), *own]
    module = (sys.executable, '-m', 'rigl_rl.commands', 'benchmark')
    return [*module, *flags, f'--worker={name}']

  def _measure(
    self, rates: Mapping[str, list[float]], flags: Sequence[str]
  ) -> None:
    """Appends the steps per second of each turn to `rates`."""
    rounds, names = self._arguments.rounds, list(rates)
    _say(f'Starting {", ".join(names)}')
    workers = {}
    try:
      for name in names:
        workers[name] = _Worker(name, self._command(name, flags))
      steps = {name: self._warm_up(name, workers[name]) for name in names}
      for turn in range(rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
          rates[name].append(workers[name].train(steps[name]))
          rate = f'{rates[name][-1]:.4g} steps/s'
          _say(f'Turn {turn + 1} of {rounds}: {name}, {rate}')
        if self._arguments.out is not None:
          self._save_turns()
    finally:
      for worker in workers.values():
        worker.close()

  def _warm_up(self, name: str, worker: _Worker) -> int:
    """Trains for some time; returns how many steps fill a turn."""
    _say(f'Warming up {name}')
    worker.train(self._subject.first_steps)
    end = time.monotonic() + self._arguments.warm_up
    steps = least = self._subject.least_steps
    while True:
      rate = worker.train(steps)
      left = end - time.monotonic()
      if left <= 0:
        return max(least, int(rate * self._arguments.seconds))
      steps = max(least, min(2 * steps, int(rate * left)))

  def _print_table(
    self, rates: Mapping[str, Sequence[float]], peak: float
  ) -> None:
    """Prints rates: median, range, share of `peak`, ratios to references'."""
    references = [n for n in self._subject.references if n in rates]
    references = references or self._names[:1]
    lines = []
    for name, values in rates.items():
      median = statistics.median(values)
      numbers = (median, min(values), max(values))
      line = {'': name}
      line |= zip(('steps/s', 'min', 'max'), (f'{n:.4g}' for n in numbers))
      work = self._subject.multiply_adds(name, self._arguments)
      if work is not None:
        line['of peak'] = f'{100 * median * work / peak:.3g} %'
      for reference in references:
        ratios = [a / b for a, b in zip(values, rates[reference])]
        line[f'ratio to {reference}'] = (
          f'{statistics.median(ratios):.3f} '
          f'({min(ratios):.3f} to {max(ratios):.3f})'
        )
      lines.append(line)
    rows = [list(lines[0]), *(list(line.values()) for line in lines)]
    right = range(1, len(rows[0]) - len(references))
    print(wording.columns(rows, right), flush=True)

  def _save_turns(self) -> None:
    """Writes the steps per second of all turns so far."""
    import pandas as pd

    parts = []
    for width, rates in self._found.items():
      turns = pd.DataFrame(rates).rename_axis('turn').reset_index()
      if width is not None:
        turns.insert(0, 'width', width)
      parts.append(turns)
    self._write('steps_per_second.csv', pd.concat(parts))

  def _save_figure(self) -> None:
    """Writes times against sparsity, and their figure, if there are any."""
    import pandas as pd

    from rigl_rl.analysis.figures import speed, style

    times = pd.concat(
      speed.relative_times(rates).assign(width=width)
      for width, rates in self._found.items()
    ).dropna(axis='columns', how='all')
    if times.empty:
      return
    self._write('time_against_sparsity.csv', times)
    title = [f'launch.benchmark {self._arguments.subject}']
    for name in ('agent', 'task', 'shape'):
      if getattr(self._arguments, name, None) is not None:
        title.append(f'{name} {getattr(self._arguments, name)}')
    turns = wording.count(self._arguments.rounds, 'turn')
    notes = [f'Medians and ranges of {turns}, each against dense.']
    figure = speed.time_against_sparsity(times, ', '.join(title), notes)
    for kind in ('png', 'pdf'):
      content = style.rendered(figure, kind)
      self._write(f'time_against_sparsity.{kind}', content)

  def _write(self, name: str, content: Any) -> None:
    """Writes a file, or a table as CSV, to --out."""
    from rigl_rl.analysis import tables

    if not isinstance(content, bytes):
      content = tables.to_csv(content)
    paths.write(str(self._arguments.out / name), content)


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _make_directory(path: pathlib.Path) -> None:
  """Makes the directory of --out: what is measured for hours is not lost."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f'--out is {str(path)!r}, but must be a directory that can be made '
      f'({error.strerror}).'
    ) from error
