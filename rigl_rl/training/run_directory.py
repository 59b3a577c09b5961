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
    wandb_id               the run's identity there, see `tracking`
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
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rigl_rl import files, locks, readers
from rigl_rl.config.gin_text import Config, Key, same
from rigl_rl.errors import UserError
from rigl_rl.replay import ring
from rigl_rl.training import attributes, checkpointing
from rigl_rl.training import record as record_lib

_LOGGER = logging.getLogger(__name__)

CURVE = 'curve.png'
_TIMING = 'timing.csv'
_TIMING_COLUMNS = {'step': int, 'seconds': float, 'steps_per_second': float}
_DIRECTORIES = ('checkpoints', 'replay', 'events')
# What a killed process may have left half-written.
_FILES = (
  *(record_lib.CONFIG, record_lib.OPERATIVE_CONFIG, record_lib.RECORD),
  *(record_lib.EVALUATIONS, record_lib.SUMMARY, _TIMING, CURVE, 'probe'),
)

# A message about a conflict names at most this many bindings.
_MAX_DIFFERENCES = 5


class RunDirectory:
  """One run's directory: its files, and the history of its evaluations.

  Nothing is touched before `check`.

  Attributes:
    checkpoints: the `Checkpointer`.
    replay: path for the files of a replay buffer.
    events: path for TensorBoard's events.
  """

  def __init__(self, base_dir: str):
    """Names the directory, by any path of tf.io.gfile.

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
    checkpoints, self.replay, self.events = map(self.path, _DIRECTORIES)
    self.checkpoints = checkpointing.Checkpointer(checkpoints)
    self._is_extended = False
    self._evaluations: list[dict[str, Any]] = []
    self._timing: list[dict[str, Any]] = []

  def path(self, *names: str) -> str:
    """Returns the path of something in the directory."""
    return os.path.join(self._base_dir, *names)

  def _error(self, reason: str) -> UserError:
    return UserError(f'--base_dir is {self._base_dir!r}, {reason}')

  @contextlib.contextmanager
  def lock(self) -> Iterator[None]:
    """Keeps other processes from training here; local directories only.

    The lock's file is removed if no run has begun in the end.

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
        raise self._error(
          f'where another process trains ({error}); wait for it, or give '
          'another --base_dir'
        ) from None
      except OSError:
        pass  # `check` says why nothing can be written.
      yield

  def _remove_lock(self) -> None:
    if not files.exists(self.path(record_lib.CONFIG)):
      with contextlib.suppress(OSError):
        files.remove(self.path(locks.RUN))

  def check(self, config: str) -> bool:
    """Tells whether a run of `config` may be here.

    It only removes what a killed process has left half-done.

    Args:
      config: the complete gin config as parsed: `gin.config_str()`.

    Returns:
      True if the directory holds a run of the same config, which continues from
      its checkpoint, if it has one; False if the run is new.

    Raises:
      UserError: the directory cannot be written to, or holds something else
        than a run of this config.
    """
    is_there = False
    with contextlib.suppress(OSError):  # `check_writable` says why.
      is_there = files.is_directory(self._base_dir)
    if not is_there:
      self.check_writable()
      return False
    existing = self._existing_config()
    if existing is not None:
      self._compare(config, existing)
    for path in map(self.path, _DIRECTORIES):
      if files.exists(path) and not files.is_directory(path):
        raise UserError(f'{path} is a file, but must be a directory')
    # First, since on a full disk this makes room.
    self._clean()
    self.check_writable()
    return existing is not None

  def _compare(self, config: str, existing: str) -> None:
    """Raises UserError if the existing config is another one."""
    configs, differences, hint = [Config.of_text(config)], [], ''
    try:
      with readers.contents_of(self.path(record_lib.CONFIG)):
        configs.append(Config.of_text(existing))
        ours, theirs = (len(c.value(record_lib.EXTENDED, ())) for c in configs)
        self._is_extended = ours > theirs
        # The first one changes no result, and runs of earlier versions have
        # none.
        ignored = ['train.paper']
        if self._is_extended:
          ignored += ['TRAIN_STEPS', record_lib.LENGTH, record_lib.EXTENDED]
        for each in configs:
          for name in ignored:
            each.bindings.pop(Key.parse(name), None)
        # Runs of earlier versions may have other macros for the same values.
        ours, theirs = (attributes.Bindings(each).values for each in configs)
        if not same(ours, theirs):
          differences = configs[0].differences(configs[1])
          length = theirs.get(record_lib.LENGTH)
          if attributes.is_number(length) and ours[record_lib.LENGTH] > length:
            ours = {**ours, record_lib.LENGTH: length}
          if same(ours, theirs):
            hint = ', or --extend'
            names = ('TRAIN_STEPS', record_lib.LENGTH)
            found = [text for text in differences if text.split()[0] in names]
            differences = found or differences
    except readers.FileError as error:
      raise self._error(
        f'whose {record_lib.CONFIG} cannot be read; give another --base_dir'
      ) from error
    if differences:
      shown = '; '.join(differences[:_MAX_DIFFERENCES])
      if more := differences[_MAX_DIFFERENCES:]:
        shown += f'; … and {len(more)} more'
      raise self._error(
        f'which holds a run of another config: {shown}; give another '
        f'--base_dir{hint}'
      )

  def prepare(self, config: str) -> bool:
    """Checks the directory, and makes it ready for a run of `config`.

    Evaluations after the checkpoint that was loaded vanish from the files.
    """
    resumed = self.check(config)
    files.make_directory(self._base_dir)
    if self._is_extended:
      files.remove(self.path(record_lib.SUMMARY))
    if not resumed or self._is_extended:
      files.write(self.path(record_lib.CONFIG), config)
    elif self._evaluations:
      self._write_table(record_lib.EVALUATIONS, self._evaluations)
    return resumed

  def check_writable(self) -> None:
    """Writes a file, and removes it.

    Raises:
      UserError: the directory cannot be written to.
    """
    # Permission bits say nothing about read-only, full or remote file systems.
    probe = files.temporary_name(self.path('probe'))
    try:
      with files.made_for_now(self._base_dir):
        try:
          with files.create(probe) as file:
            file.write(b'probe')
        finally:
          files.remove(probe)
    except (OSError, ValueError) as error:
      raise self._error(
        f'which cannot be written to ({readers.reason(error)}); it must be a '
        'writable directory'
      ) from error

  def _existing_config(self) -> str | None:
    """The config of the run in the directory, or None if there is no run."""
    path = self.path(record_lib.CONFIG)
    with readers.contents_of(path):
      if files.exists(path):
        # A broken one is reported by the comparison.
        return readers.read_bytes(path).decode('utf-8', 'replace')
    # The config is written before anything else, so someone removed it:
    # which run this was is unknown, and nothing may overwrite it.
    for name in ('checkpoints', record_lib.EVALUATIONS, record_lib.SUMMARY):
      if files.exists(self.path(name)):
        raise self._error(
          f'which holds {name} but no {record_lib.CONFIG}; give another '
          '--base_dir'
        )
    # A run above others would hide them from analysis.
    for name in files.list_names(self._base_dir):
      if files.exists(self.path(name, record_lib.CONFIG)):
        raise self._error(
          f'which holds runs, such as {name}; give a directory of its own'
        )
    return None

  def _clean(self) -> None:
    """Removes what killed processes and failed saves have left behind."""
    unfinished = tuple(name + files.TEMPORARY for name in _FILES)
    for name in files.list_names(self._base_dir):
      if name.startswith(unfinished):
        files.remove(self.path(name))
    self.checkpoints.clean()
    self.clean_replay()

  def clean_replay(self) -> None:
    """Removes files of a replay buffer that no checkpoint names."""
    # A checkpoint that cannot be read may name any file.
    with contextlib.suppress(readers.FileError):
      ring.delete_unused(self.replay, self.checkpoints.names())

  @property
  def evaluations(self) -> list[dict[str, Any]]:
    """The history so far: dicts of step, return_mean, return_std, episodes."""
    return [dict(row) for row in self._evaluations]

  @property
  def last_step(self) -> int:
    """Training steps at the last evaluation; 0 before the first one."""
    return self._evaluations[-1]['step'] if self._evaluations else 0

  def append_evaluation(
    self, step: int, return_mean: float, return_std: float, episodes: int
  ) -> None:
    """Adds an evaluation to the history and rewrites evaluations.csv.

    Args:
      step: training steps so far; it rises from row to row.
      return_mean: over the episodes of this evaluation.
      return_std: their population standard deviation, divided by their number.
      episodes: how many they are.
    """
    if step <= self.last_step:
      raise ValueError(f'step {step} comes after {self.last_step}')
    row = {
      'step': operator.index(step),
      'return_mean': float(return_mean),
      'return_std': float(return_std),
      'episodes': operator.index(episodes),
    }
    self._evaluations.append(row)
    self._write_table(record_lib.EVALUATIONS, self._evaluations)

  def _write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    # repr of a float is the shortest text that reads back as the same bits.
    table = [rows[0], *(map(repr, row.values()) for row in rows)]
    text = '\n'.join(map(','.join, table))
    files.write(self.path(name), text + '\n')

  def append_timing(
    self, step: int, seconds: float, steps_per_second: float
  ) -> None:
    """Adds a row to timing.csv, which restarts do not reproduce.

    `seconds` of training are summed over restarts; the speed is that since the
    previous row.
    """
    row = zip(_TIMING_COLUMNS, (step, seconds, steps_per_second))
    self._timing.append(dict(row))
    self._write_table(_TIMING, self._timing)

  @property
  def elapsed_seconds(self) -> float:
    """Wall-clock seconds at the last row of timing.csv; 0. at the start."""
    return self._timing[-1]['seconds'] if self._timing else 0.0

  def settings(self) -> dict[str, str]:
    """Returns what decides the results, by run.json; {} if there is none."""
    if not files.exists(self.path(record_lib.RECORD)):
      return {}
    return record_lib.settings(record_lib.describe(self._base_dir))

  def get_state(self) -> dict[str, Any]:
    """Returns the evaluations so far; equal runs have equal checkpoints."""
    return {'evaluations': self.evaluations}

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Goes back to a checkpoint: later rows vanish from both tables.

    The files change when a row is written next.
    """
    self._evaluations = [dict(row) for row in state['evaluations']]
    timing = []
    try:
      if files.exists(self.path(_TIMING)):
        timing = readers.read_table(self.path(_TIMING), _TIMING_COLUMNS)
    except readers.FileError as error:
      # Not worth a run: someone edited it.
      _LOGGER.warning('%s; its rows are dropped', error)
    self._timing = [row for row in timing if row['step'] <= self.last_step]

  def read_summary(self) -> dict[str, Any] | None:
    """Returns summary.json; None if there is none that can be used."""
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
    summary = self.read_summary() or {}
    return summary.get('finished') is True and not self._is_extended


def checkpoints(
  directory: str, step: int | None = None
) -> checkpointing.Checkpointer:
  """Returns what reads the checkpoints of the run that --run names.

  Raises:
    UserError: it has none; or none of `step`, if that is given.
  """
  reader = RunDirectory(directory).checkpoints
  steps = reader.steps()
  if not steps:
    raise UserError(
      f'--run is {directory!r}, but must hold a whole checkpoint: there is '
      'none; the run writes its first one after an evaluation.'
    )
  if step is not None and step not in steps:
    raise UserError(
      f'--checkpoint is {step}, but must be the step of one in {directory!r}: '
      f'{", ".join(map(str, steps))}.'
    )
  return reader
