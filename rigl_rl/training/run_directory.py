"""The directory of a run: what it holds and when it may be used again.

    config.gin             as parsed, written before training
    operative_config.gin   with the defaults of what was really called
    run.json               what the run is, see `record`
    evaluations.csv        step, return_mean, return_std, episodes
    timing.csv             step, seconds, steps_per_second
    summary.json           what came out of it
    curve.png              the learning curve
    checkpoints/           see `checkpointing`
    replay/                transitions that checkpoints name
    events/                TensorBoard
    train.lock             locked while a process trains here

Every file is written whole and renamed. None is a pickle.

Deviation: the design puts `seconds` into evaluations.csv. Wall-clock time is
the one column that no two runs share, and the evaluations of a run killed and
started again must equal those of one never stopped, bit for bit. So time has
a file of its own, and evaluations.csv holds only what the seed decides.
"""

from __future__ import annotations

import contextlib
import logging
import numbers
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rigl_rl import files, locks, readers
from rigl_rl.config import comparison
from rigl_rl.config.gin_text import Config, Key
from rigl_rl.errors import UserError
from rigl_rl.replay import segments
from rigl_rl.training import checkpointing, curve
from rigl_rl.training import record as record_lib

_LOGGER = logging.getLogger(__name__)

_TIMING = 'timing.csv'
_CURVE = 'curve.png'
_CHECKPOINTS = 'checkpoints'
_REPLAY = 'replay'
_EVENTS = 'events'

_TIMING_COLUMNS = {'step': int, 'seconds': float, 'steps_per_second': float}

# A conflict names at most so many bindings.
_MAX_DIFFERENCES = 5


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
    base_dir = os.path.expanduser(os.fspath(base_dir))
    if not files.is_url(base_dir) and os.pardir in base_dir.split(os.sep):
      # A directory to go up from need not be there.
      base_dir = os.path.realpath(base_dir)
    self._base_dir = base_dir
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
  def replay(self) -> str:
    """Path for the files of a replay buffer."""
    return self.path(_REPLAY)

  @property
  def events(self) -> str:
    """Path for TensorBoard events."""
    return self.path(_EVENTS)

  @contextlib.contextmanager
  def lock(self) -> Iterator[None]:
    """Keeps other processes from training here; local directories only.

    If no run has begun in the end, nothing of this is left.

    Raises:
      UserError: another process trains here.
    """
    if files.is_url(self._base_dir):
      yield
      return
    path = self.path(locks.RUN)
    with contextlib.ExitStack() as stack:
      try:
        stack.enter_context(files.made_for_now(self._base_dir))
        stack.callback(os.close, locks.acquire(path))
        stack.callback(self._remove_lock)
      except locks.Locked as error:
        raise UserError(
          f'--base_dir is {self._base_dir!r}, where another process trains '
          f'({error}); wait for it, or give another --base_dir'
        ) from None
      except OSError:
        pass  # `check` tells why nothing can be written.
      yield

  def _remove_lock(self) -> None:
    if not files.exists(self.path(record_lib.CONFIG)):
      with contextlib.suppress(OSError):
        files.remove(self.path(locks.RUN))

  def check(self, config: str) -> bool:
    """Tells whether a run of `config` may be here.

    Changes nothing but what a killed process has left half-done.

    Args:
      config: the complete gin config as parsed: `gin.config_str()`.

    Returns:
      True if the directory holds a run of the same config, to be continued
      from its checkpoint, if it has one; False if the run is new.

    Raises:
      UserError: the directory cannot be written to, or holds something else
        than a run of this config.
    """
    if not self._is_there():
      self.check_writable()
      return False
    existing = self._existing_config()
    if existing is not None:
      self._compare(config, existing)
    for name in (_CHECKPOINTS, _REPLAY, _EVENTS):
      path = self.path(name)
      if files.exists(path) and not files.is_directory(path):
        raise UserError(f'{path} is a file, but must be a directory')
    # First, since on a full disk this makes room.
    self._clean()
    self.check_writable()
    return existing is not None

  def _is_there(self) -> bool:
    try:
      return files.is_directory(self._base_dir)
    except OSError:
      return False  # Nowhere that can be written to.

  def _compare(self, config: str, existing: str) -> None:
    """Raises UserError if the existing config is another one."""
    configs = [Config.of_text(config)]
    try:
      with readers.contents_of(self.path(record_lib.CONFIG)):
        configs.append(Config.of_text(existing))
        for each in configs:
          # It changes no result, and runs of the version before have none.
          each.bindings.pop(Key.parse('train.paper'), None)
        differences = comparison.differing_bindings(*configs)
    except readers.FileError as error:
      raise UserError(
        f'--base_dir is {self._base_dir!r}, whose {record_lib.CONFIG} cannot '
        'be read; give another --base_dir'
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

  def prepare(self, config: str) -> bool:
    """Makes the directory ready for a run of `config`, before training.

    Evaluations after the checkpoint that was loaded vanish from the files.

    Takes and returns what `check` does, and raises the same errors.
    """
    resumed = self.check(config)
    files.make_directory(self._base_dir)
    if not resumed:
      files.write(self.path(record_lib.CONFIG), config)
    elif self._evaluations:
      self._write_evaluations()
    return resumed

  def check_writable(self) -> None:
    """Writes a file, and removes it.

    Raises:
      UserError: the directory cannot be written to.
    """
    # Written for real: permission bits do not tell of read-only or full file
    # systems, nor of remote ones.
    probe = files.temporary_name(self.path('probe'))
    try:
      with files.made_for_now(self._base_dir):
        try:
          with files.create(probe) as file:
            file.write(b'probe')
        finally:
          files.remove(probe)
    except (OSError, ValueError) as error:
      raise UserError(
        f'--base_dir is {self._base_dir!r}, which cannot be written to '
        f'({readers.reason(error)}); it must be a writable directory'
      ) from error

  def _existing_config(self) -> str | None:
    """The config of the run in the directory, or None if there is no run."""
    path = self.path(record_lib.CONFIG)
    with readers.contents_of(path):
      if files.exists(path):
        # A broken one is reported by the comparison.
        return readers.read_bytes(path).decode('utf-8', 'replace')
    # The config is written before anything else, so it was taken away: what
    # the run was can no longer be told, and must not be overwritten.
    for name in (_CHECKPOINTS, record_lib.EVALUATIONS, record_lib.SUMMARY):
      if files.exists(self.path(name)):
        raise UserError(
          f'--base_dir is {self._base_dir!r}, which holds {name} but no '
          f'{record_lib.CONFIG}; give another --base_dir'
        )
    return None

  def _clean(self) -> None:
    """Removes what killed processes and failed saves have left, only that."""
    own = (
      record_lib.CONFIG,
      record_lib.OPERATIVE_CONFIG,
      record_lib.RECORD,
      record_lib.EVALUATIONS,
      _TIMING,
      record_lib.SUMMARY,
      _CURVE,
      'probe',
    )
    for name in files.list_names(self._base_dir):
      if name.startswith(tuple(file + files.TEMPORARY for file in own)):
        files.remove(self.path(name))
    checkpointing.Checkpointer(self.checkpoints).clean()
    self.clean_replay()

  def clean_replay(self) -> None:
    """Removes files of a replay buffer that no checkpoint names."""
    names = checkpointing.Checkpointer(self.checkpoints).names
    # Of a checkpoint that cannot be read, nobody knows what it names.
    with contextlib.suppress(readers.FileError):
      segments.delete_unused(self.replay, names())

  def write_operative_config(self, text: str) -> None:
    """Writes operative_config.gin.

    Args:
      text: `gin.operative_config_str()`, taken once all is built.
    """
    files.write(self.path(record_lib.OPERATIVE_CONFIG), text)

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
    row = _parse_row(row, record_lib.EVALUATION_COLUMNS)
    if self._evaluations and row['step'] <= self._evaluations[-1]['step']:
      raise ValueError(
        f'step {row["step"]} comes after {self._evaluations[-1]["step"]}'
      )
    self._evaluations.append(row)
    self._write_evaluations()

  def _write_evaluations(self) -> None:
    files.write(
      self.path(record_lib.EVALUATIONS),
      _format_table(self._evaluations, record_lib.EVALUATION_COLUMNS),
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
    files.write(
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

    The files are changed by what is written next.

    Args:
      state: what `get_state` returned.
    """
    self._evaluations = [
      _parse_row(row, record_lib.EVALUATION_COLUMNS)
      for row in state['evaluations']
    ]
    last = self._evaluations[-1]['step'] if self._evaluations else -1
    timing = []
    try:
      if files.exists(self.path(_TIMING)):
        timing = readers.read_table(self.path(_TIMING), _TIMING_COLUMNS)
    except readers.FileError as error:
      # Not worth a run: someone edited it.
      _LOGGER.warning('%s; its rows are dropped', error)
    self._timing = [row for row in timing if row['step'] <= last]

  def write_record(self, record: Mapping[str, Any]) -> str:
    """Writes run.json; takes and returns what `record.write` does."""
    step = self._evaluations[-1]['step'] if self._evaluations else 0
    return record_lib.write(self._base_dir, record, step)

  def write_summary(self, summary: Mapping[str, Any]) -> None:
    """Writes summary.json.

    Args:
      summary: nested dict of JSON or NumPy values; numbers that are not
        finite become null. `'finished': True` marks the run as finished.
    """
    record_lib.write_json(self.path(record_lib.SUMMARY), summary)

  def read_summary(self) -> dict[str, Any] | None:
    """Returns the content of summary.json, or None if there is none.

    One that cannot be used, which a warning names, counts as none: what is left
    of the run writes another.
    """
    path = self.path(record_lib.SUMMARY)
    if not files.exists(path):
      return None
    try:
      return readers.read_json(path)
    except readers.FileError as error:
      _LOGGER.warning('%s; it is written again', error)
      return None

  @property
  def finished(self) -> bool:
    """Whether the run came to its end, by its summary."""
    return (self.read_summary() or {}).get('finished') is True

  def write_curve(self, title: str = '') -> str:
    """Draws the learning curve: mean return, one std, and the final score.

    Args:
      title: one line above the curve.

    Returns:
      The path of curve.png.

    Raises:
      ValueError: there is no evaluation to draw.
    """
    if not self._evaluations:
      raise ValueError('there is no evaluation to draw')
    path = self.path(_CURVE)
    files.write(path, curve.draw_curve(self._evaluations, title))
    return path
