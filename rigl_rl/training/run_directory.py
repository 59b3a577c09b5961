"""The directory of a run: what it holds and when it may be used again.

    config.gin             as parsed, written before training
    operative_config.gin   with the defaults of what was really called
    evaluations.csv        step, return_mean, return_std, episodes
    timing.csv             step, seconds, steps_per_second
    summary.json           final score and what led to it
    curve.png              the learning curve
    checkpoints/           see `checkpointing`
    events/                TensorBoard

Every file is written whole and renamed. None is a pickle.

Deviation: the design puts `seconds` into evaluations.csv. Wall-clock time is
the one column that no two runs share, and the evaluations of a run killed and
started again must equal those of one never stopped, bit for bit. So time has
a file of its own, and evaluations.csv holds only what the seed decides.
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import math
import numbers
import os
import pathlib
import platform
import subprocess
import tokenize
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from gin import config_parser

import rigl_rl
from rigl_rl.errors import UserError
from rigl_rl.training import files, scores

_CONFIG = 'config.gin'
_OPERATIVE_CONFIG = 'operative_config.gin'
_EVALUATIONS = 'evaluations.csv'
_TIMING = 'timing.csv'
_SUMMARY = 'summary.json'
_CURVE = 'curve.png'
_CHECKPOINTS = 'checkpoints'
_EVENTS = 'events'

_EVALUATION_COLUMNS = {
  'step': int,
  'return_mean': float,
  'return_std': float,
  'episodes': int,
}
_TIMING_COLUMNS = {'step': int, 'seconds': float, 'steps_per_second': float}

# A conflict names at most so many bindings, and values at most so long.
_MAX_DIFFERENCES = 5
_MAX_VALUE_LENGTH = 60


class _Reference:
  """`@scope/name`, `@scope/name()` or `%name` in a gin config.

  The same configurable may be written with more or fewer of its modules:
  gin writes as many as tell it apart. So names are equal if one ends in the
  other.
  """

  def __init__(self, prefix: str, name: str, suffix: str):
    self._prefix = prefix
    scope, _, self._selector = name.rpartition('/')
    self._scope = scope + '/' if scope else ''
    self._suffix = suffix

  def __eq__(self, other) -> bool:
    return (
      isinstance(other, _Reference)
      and (self._prefix, self._scope, self._suffix)
      == (other._prefix, other._scope, other._suffix)
      and _same_selector(self._selector, other._selector)
    )

  def __hash__(self) -> int:
    return hash((self._prefix, self._scope, self._selector.split('.')[-1]))

  def __repr__(self) -> str:
    return f'{self._prefix}{self._scope}{self._selector}{self._suffix}'


class _Delegate(config_parser.ParserDelegate):
  """Lets gin's parser read a config without looking up what it names."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    scope, _, name = scoped_configurable_name.rpartition('/')
    if evaluate and name in ('macro', 'gin.macro') and scope:
      return self.macro(scope)
    return _Reference('@', scoped_configurable_name, '()' if evaluate else '')

  def macro(self, macro_name):
    return _Reference('%', macro_name, '')


def _same_selector(one: str, other: str) -> bool:
  """Whether two dotted names are the same, or one ends in the other."""
  return one == other or one.endswith('.' + other) or other.endswith('.' + one)


def _same_value(one: Any, other: Any) -> bool:
  """Equality of two gin values: 1 is 1.0, but True is not 1, nor [] ()."""
  if isinstance(one, dict) and isinstance(other, dict):
    return list(one) == list(other) and all(
      _same_value(one[key], other[key]) for key in one
    )
  for kind in (list, tuple):
    if isinstance(one, kind) and isinstance(other, kind):
      return len(one) == len(other) and all(map(_same_value, one, other))
  if isinstance(one, bool) or isinstance(other, bool):
    return one is other
  return one == other


# A binding is known by its scope ('' or 'a/b/') and its dotted name.
_Key = tuple[str, str]


def parse_bindings(config: str) -> dict[_Key, Any]:
  """Reads a gin config as a set of bindings.

  Comments, order, formatting, line breaks, blocks, and the imports play no
  part: gin writes bindings of modules that were imported, and a module that
  changes what a run does is seen in the bindings that name it.

  Args:
    config: a complete gin config, such as `gin.config_str()` returns. Nothing
      that it names has to be registered.

  Returns:
    {(scope, name): value}. `scope` is '' or ends in '/', `name` is the dotted
    name of configurable and parameter, or that of a macro. Of two bindings of
    the same name the last one counts, as in gin.

  Raises:
    SyntaxError: `config` is no gin config.
    ValueError: `config` includes other files, so it is not complete.
  """
  bindings = {}
  try:
    statements = list(config_parser.ConfigParser(config, _Delegate()))
  except tokenize.TokenError as error:
    # What ends inside a bracket or a string.
    raise SyntaxError(str(error)) from error
  for statement in statements:
    if isinstance(statement, config_parser.IncludeStatement):
      raise ValueError(f'the config includes {statement.filename!r}')
    if not isinstance(statement, config_parser.BindingStatement):
      continue
    scope, selector, name = statement[:3]
    if selector in ('macro', 'gin.macro') and name == 'value':
      # `NAME/macro.value = 1` is the long form of `NAME = 1`.
      scope, _, selector = scope.rpartition('/')
      name = ''
    key = (scope + '/' if scope else '', f'{selector}.{name}'.rstrip('.'))
    bindings[key] = statement.value
  return bindings


def _matching(key: _Key, bindings: Mapping[_Key, Any]) -> _Key | None:
  """The key in `bindings` of the same binding, perhaps with more modules."""
  if key in bindings:
    return key
  # A macro has no parameter, hence no dot, and is never shortened.
  if '.' not in key[1]:
    return None
  found = [
    other
    for other in bindings
    if other[0] == key[0]
    and '.' in other[1]
    and _same_selector(key[1], other[1])
  ]
  return found[0] if len(found) == 1 else None


def _shown(value: Any) -> str:
  text = repr(value)
  if len(text) > _MAX_VALUE_LENGTH:
    text = text[: _MAX_VALUE_LENGTH - 1] + '…'
  return text


def differing_bindings(
  here: str, existing: str, ignore: Collection[str] = ()
) -> list[str]:
  """Compares two gin configs binding by binding.

  Args:
    here: complete gin config of this start.
    existing: complete gin config of the run in the directory.
    ignore: names of bindings that may differ, with or without scope and
      leading modules: 'Runner.verbose', 'THREADS'.

  Returns:
    One text per differing binding, such as 'RigL.drop_fraction is 0.3 here,
    0.5 in the existing run', ordered by name; macros, which are what a sweep
    varies, first.

  Raises:
    SyntaxError: one of them is no gin config.
  """
  ours, theirs = parse_bindings(here), parse_bindings(existing)

  def ignored(key: _Key) -> bool:
    return any(
      name == key[0] + key[1]
      or (
        name == key[1]
        if '.' not in key[1]
        else '.' in name and _same_selector(name, key[1])
      )
      for name in ignore
    )

  # What is in one of them only has no value in the other.
  pairs: dict[_Key, tuple[str, str]] = {}
  matched = set()
  for key, value in ours.items():
    other = _matching(key, theirs)
    if other is None:
      pairs[key] = (_shown(value), 'not set')
      continue
    matched.add(other)
    if not _same_value(value, theirs[other]):
      pairs[key] = (_shown(value), _shown(theirs[other]))
  for key, value in theirs.items():
    if key not in matched:
      pairs[key] = ('not set', _shown(value))
  return [
    f'{key[0]}{key[1]} is {pairs[key][0]} here, {pairs[key][1]} in the '
    'existing run'
    for key in sorted(pairs, key=lambda key: ('.' in key[1], key))
    if not ignored(key)
  ]


def _parse_row(row: Mapping[str, Any], columns: Mapping[str, type]) -> dict:
  """`row` with Python numbers, in the order of `columns`."""
  if set(row) != set(columns):
    raise ValueError(
      f'a row has the columns {", ".join(columns)}; got {", ".join(row)}'
    )
  for name, kind in columns.items():
    if kind is int and not isinstance(row[name], numbers.Integral):
      raise ValueError(f'{name} must be an integer, got {row[name]!r}')
  return {name: kind(row[name]) for name, kind in columns.items()}


def _format_table(rows: Sequence[Mapping], columns: Mapping[str, type]) -> str:
  # repr of a float is the shortest text that reads back as the same bits.
  lines = [','.join(columns)]
  lines += [','.join(repr(row[name]) for name in columns) for row in rows]
  return '\n'.join(lines) + '\n'


def _read_table(path: str, columns: Mapping[str, type]) -> list[dict]:
  """Rows of a table that `_format_table` wrote; none if there is no file."""
  if not tf.io.gfile.exists(path):
    return []
  reader = csv.DictReader(io.StringIO(files.read_file(path).decode('utf-8')))
  return [
    {name: kind(row[name]) for name, kind in columns.items()} for row in reader
  ]


def read_evaluations(base_dir: str) -> list[dict[str, Any]]:
  """Reads evaluations.csv of a run.

  Args:
    base_dir: the run directory.

  Returns:
    One dict per evaluation, in order of steps, with the keys step,
    return_mean, return_std, episodes. Empty if there is no such file.
  """
  path = os.path.join(os.fspath(base_dir), _EVALUATIONS)
  return _read_table(path, _EVALUATION_COLUMNS)


def _jsonable(value: Any) -> Any:
  """`value` as strict JSON: no NumPy, and null for what is not finite."""
  if isinstance(value, Mapping):
    return {str(key): _jsonable(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_jsonable(item) for item in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return _jsonable(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


class RunDirectory:
  """One run's directory: its files, and the history of its evaluations."""

  def __init__(self, base_dir: str):
    """Names the directory; nothing is touched before `prepare`.

    Args:
      base_dir: the run directory, any path of tf.io.gfile.

    Raises:
      UserError: `base_dir` is empty or None.
    """
    if not base_dir:
      raise UserError(f'--base_dir is {base_dir!r}; it must name a directory')
    # No shell expands the tilde in --base_dir=~/runs.
    self._base_dir = os.path.expanduser(os.fspath(base_dir))
    self._evaluations: list[dict[str, Any]] = []
    self._timing: list[dict[str, Any]] = []

  def path(self, *names: str) -> str:
    """Returns the path of something in the directory."""
    return os.path.join(self._base_dir, *names)

  @property
  def checkpoints(self) -> str:
    """Path for the `Checkpointer`."""
    return self.path(_CHECKPOINTS)

  @property
  def events(self) -> str:
    """Path for TensorBoard events."""
    return self.path(_EVENTS)

  def check(self, config: str, ignore: Collection[str] = ()) -> bool:
    """Tells whether a run of `config` may be here; changes nothing.

    Args:
      config: the complete gin config as parsed: `gin.config_str()`.
      ignore: names of bindings that may differ from an earlier start, since
        they change no result.

    Returns:
      True if the directory holds a run of the same config, to be continued
      from its checkpoint, if it has one; False if the run is new.

    Raises:
      UserError: the directory cannot be written to, or holds something else
        than a run of this config.
    """
    self._check_writable()
    existing = self._existing_config()
    if existing is not None:
      try:
        differences = differing_bindings(config, existing, ignore)
      except (SyntaxError, ValueError) as error:
        # The config of this start was parsed by gin before.
        parse_bindings(config)
        raise UserError(
          f'--base_dir is {self._base_dir!r}, whose {_CONFIG} cannot be '
          'read; give another --base_dir'
        ) from error
      if differences:
        shown = '; '.join(differences[:_MAX_DIFFERENCES])
        more = len(differences) - _MAX_DIFFERENCES
        if more > 0:
          shown += f'; … and {more} more'
        raise UserError(
          f'--base_dir is {self._base_dir!r}, which holds a run of another '
          f'config: {shown}; give another --base_dir'
        )
    return existing is not None

  def prepare(self, config: str, ignore: Collection[str] = ()) -> bool:
    """Makes the directory ready for a run of `config`, before training.

    Takes and returns what `check` does, and raises the same errors.
    """
    resumed = self.check(config, ignore)
    self._clean()
    if not resumed:
      files.write_file(self.path(_CONFIG), config)
    return resumed

  def _check_writable(self) -> None:
    # Written for real: permission bits do not tell of read-only or full file
    # systems, nor of remote ones.
    probe = files.temporary_name(self.path('probe'))
    try:
      tf.io.gfile.makedirs(self._base_dir)
      with tf.io.gfile.GFile(probe, 'w') as file:
        file.write('probe')
      tf.io.gfile.remove(probe)
    except (OSError, ValueError, tf.errors.OpError) as error:
      message = getattr(error, 'message', None) or str(error)
      reason = ' '.join(message.split('; ')[-1].split())
      raise UserError(
        f'--base_dir is {self._base_dir!r}, which cannot be written to '
        f'({reason}); it must be a writable directory'
      ) from error

  def _existing_config(self) -> str | None:
    """The config of the run in the directory, or None if there is no run."""
    if tf.io.gfile.exists(self.path(_CONFIG)):
      # A broken one is reported by the comparison.
      return files.read_file(self.path(_CONFIG)).decode('utf-8', 'replace')
    # The config is written before anything else, so it was taken away: what
    # the run was can no longer be told, and must not be overwritten.
    for name in (_CHECKPOINTS, _EVALUATIONS, _SUMMARY):
      if tf.io.gfile.exists(self.path(name)):
        raise UserError(
          f'--base_dir is {self._base_dir!r}, which holds {name} but no '
          f'{_CONFIG}; give another --base_dir'
        )
    return None

  def _clean(self) -> None:
    """Removes unfinished files of a killed process, and only those."""
    own = (
      _CONFIG,
      _OPERATIVE_CONFIG,
      _EVALUATIONS,
      _TIMING,
      _SUMMARY,
      _CURVE,
      'probe',
    )
    for name in tf.io.gfile.listdir(self._base_dir):
      if name.startswith(tuple(file + files.TEMPORARY for file in own)):
        tf.io.gfile.remove(self.path(name))

  def write_operative_config(self, text: str) -> None:
    """Writes operative_config.gin.

    Args:
      text: `gin.operative_config_str()`, taken once all is built.
    """
    files.write_file(self.path(_OPERATIVE_CONFIG), text)

  @property
  def evaluations(self) -> list[dict[str, Any]]:
    """The history so far: dicts of step, return_mean, return_std, episodes."""
    return [dict(row) for row in self._evaluations]

  def append_evaluation(self, row: Mapping[str, Any]) -> None:
    """Adds an evaluation to the history and rewrites evaluations.csv.

    Args:
      row: step (training steps so far, rising from row to row), return_mean
        and return_std (over the episodes of this evaluation; the population
        standard deviation, i.e. divided by their number), episodes.

    Raises:
      ValueError: other columns, or a step that is not above the last one.
    """
    row = _parse_row(row, _EVALUATION_COLUMNS)
    if self._evaluations and row['step'] <= self._evaluations[-1]['step']:
      raise ValueError(
        f'step {row["step"]} comes after {self._evaluations[-1]["step"]}'
      )
    self._evaluations.append(row)
    self._write_evaluations()

  def _write_evaluations(self) -> None:
    files.write_file(
      self.path(_EVALUATIONS),
      _format_table(self._evaluations, _EVALUATION_COLUMNS),
    )

  def append_timing(
    self, step: int, seconds: float, steps_per_second: float
  ) -> None:
    """Adds a row to timing.csv, which no restart has to reproduce.

    Args:
      step: training steps so far.
      seconds: wall-clock time since the start of training, summed over
        restarts: `elapsed_seconds` after a restart, plus this process's own.
      steps_per_second: training steps per second since the row before.
    """
    self._timing.append(
      _parse_row(
        {
          'step': step,
          'seconds': seconds,
          'steps_per_second': steps_per_second,
        },
        _TIMING_COLUMNS,
      )
    )
    files.write_file(
      self.path(_TIMING), _format_table(self._timing, _TIMING_COLUMNS)
    )

  @property
  def elapsed_seconds(self) -> float:
    """Wall-clock seconds at the last row of timing.csv; 0. at the start."""
    return self._timing[-1]['seconds'] if self._timing else 0.0

  def get_state(self) -> dict[str, Any]:
    """Returns the evaluations so far, for a checkpoint.

    Timing is left out, so that equal runs have equal checkpoints.
    """
    return {'evaluations': self.evaluations}

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Goes back to a checkpoint: later rows vanish from both tables.

    Args:
      state: what `get_state` returned.
    """
    self._evaluations = [
      _parse_row(row, _EVALUATION_COLUMNS) for row in state['evaluations']
    ]
    self._write_evaluations()
    last = self._evaluations[-1]['step'] if self._evaluations else -1
    try:
      timing = _read_table(self.path(_TIMING), _TIMING_COLUMNS)
    except (ValueError, TypeError, LookupError):
      timing = []  # Not worth a run: someone edited it.
    self._timing = [row for row in timing if row['step'] <= last]

  def write_summary(self, summary: Mapping[str, Any]) -> None:
    """Writes summary.json.

    Args:
      summary: nested dict of JSON or NumPy values; numbers that are not
        finite become null. `'finished': True` marks the run as finished.
    """
    text = json.dumps(
      _jsonable(summary),
      sort_keys=True,
      indent=2,
      allow_nan=False,
      ensure_ascii=False,
    )
    files.write_file(self.path(_SUMMARY), text + '\n')

  def read_summary(self) -> dict[str, Any] | None:
    """Returns the content of summary.json, or None if there is none."""
    path = self.path(_SUMMARY)
    if not tf.io.gfile.exists(path):
      return None
    try:
      summary = json.loads(files.read_file(path))
    except ValueError:
      return None
    return summary if isinstance(summary, dict) else None

  @property
  def finished(self) -> bool:
    """Whether the run came to its end, by its summary."""
    return (self.read_summary() or {}).get('finished') is True

  def write_curve(
    self, history: Sequence[Mapping[str, Any]] | None = None, title: str = ''
  ) -> str:
    """Draws the learning curve: mean return, one std, and the final score.

    Args:
      history: evaluations as `evaluations` returns them, which is also the
        default.
      title: one line above the curve.

    Returns:
      The path of curve.png.

    Raises:
      ValueError: there is no evaluation to draw.
    """
    history = self._evaluations if history is None else history
    if not history:
      raise ValueError('there is no evaluation to draw')
    path = self.path(_CURVE)
    files.write_file(path, _draw_curve(history, title))
    return path


def _draw_curve(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
  """Returns the learning curve as a PNG of 1050 × 600 pixels."""
  # Here, since a run that draws nothing should not wait for matplotlib. The
  # figure is built without pyplot, which is global state and looks for a
  # screen.
  from matplotlib import ticker
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  steps = np.array([row['step'] for row in history])
  mean = np.array([row['return_mean'] for row in history], dtype=float)
  std = np.array([row['return_std'] for row in history], dtype=float)
  score = scores.final_score(mean)
  color = '#1f5fa8'

  figure = Figure(figsize=(7, 4), dpi=150, layout='constrained')
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  axes.fill_between(
    steps,
    mean - std,
    mean + std,
    color=color,
    alpha=0.18,
    linewidth=0,
    label='± 1 std over episodes',
  )
  axes.plot(
    steps,
    mean,
    color=color,
    linewidth=1.6,
    label='mean return',
    # A curve of few points shows where they are; one point is no line.
    marker='o' if len(steps) <= 50 else '',
    markersize=3.2,
  )
  axes.axhline(
    score,
    color='#c8501e',
    linewidth=1.2,
    linestyle=(0, (5, 3)),
    label=f'final score {score:.5g} (last 10 %)',
  )
  axes.set_xlabel('training steps')
  axes.set_ylabel('return')
  axes.set_title(title, loc='left', fontsize=11)
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(_short_number))
  axes.margins(x=0.02)
  axes.grid(color='#d8d8d8', linewidth=0.6)
  axes.set_axisbelow(True)
  for side in ('top', 'right'):
    axes.spines[side].set_visible(False)
  figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  buffer = io.BytesIO()
  canvas.print_png(buffer)
  return buffer.getvalue()


def _short_number(value: float, _=None) -> str:
  """Ticks for steps: 20k, 2.5M."""
  for size, unit in ((1e6, 'M'), (1e3, 'k')):
    if abs(value) >= size:
      return f'{value / size:g}{unit}'
  return f'{value:g}'


def _distribution_version(names: Iterable[str]) -> str | None:
  for name in names:
    try:
      return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return None


def versions() -> dict[str, str | None]:
  """Returns the versions of what decides a run's numbers.

  Read from the installed packages' metadata: nothing is imported.

  Returns:
    {name: version}, None for a package that is not installed.
  """
  distributions = {
    'rigl_rl': ('rigl_rl', 'rigl-rl'),
    'tensorflow': ('tensorflow', 'tensorflow-cpu'),
    'tf_agents': ('tf-agents',),
    'dopamine': ('dopamine-rl',),
    'gymnasium': ('gymnasium',),
    'ale_py': ('ale-py',),
    'mujoco': ('mujoco',),
    'numpy': ('numpy',),
  }
  found = {'python': platform.python_version()}
  for name, candidates in distributions.items():
    found[name] = _distribution_version(candidates)
  return found


def git_revision() -> str | None:
  """Returns the commit of the checkout that this package runs from.

  Returns:
    The full hash, with '+dirty' behind it if a tracked file was changed. None
    if the package was not imported from a checkout of its own, or if there is
    no git. It never fails.
  """
  package = pathlib.Path(rigl_rl.__file__).resolve().parent
  # Inside a git hook these point at another repository.
  environment = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith('GIT_')
  }

  def git(*arguments: str) -> str:
    return subprocess.run(
      ('git', '-C', str(package), *arguments),
      env=environment,
      check=True,
      timeout=10,
      text=True,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
    ).stdout.strip()

  try:
    # A package installed in somebody's repository is not tracked by it.
    git('ls-files', '--error-unmatch', '__init__.py')
    revision = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '--untracked-files=no')
  except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
    return None
  return revision + ('+dirty' if changed else '')
