"""Runs from Python: train one, load one, load many."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from rigl_rl import errors, files, quiet
from rigl_rl.config import checking, gin_text
from rigl_rl.errors import UserError
from rigl_rl.training import record, tracking

if TYPE_CHECKING:
  import pandas as pd
  import tensorflow as tf

  from rigl_rl import analysis
  from rigl_rl.training import saved_run


class Run:
  """A run directory, whether it is finished, still trains, or was cut off.

  `config`, `evaluations` and `info` read its files again at each access.

  Attributes:
    directory: its path.
  """

  def __init__(self, directory: str):
    self.directory = directory

  def __repr__(self) -> str:
    return f'Run({self.directory!r})'

  @property
  def config(self) -> gin_text.Config:
    """Its config.gin: `run.config.value('SPARSITY')`."""
    return gin_text.Config([os.path.join(self.directory, record.CONFIG)])

  @property
  def evaluations(self) -> pd.DataFrame:
    """One row per evaluation: step, return_mean, return_std, episodes, ..."""
    return self._table.evaluations

  @property
  def info(self) -> pd.Series:
    """Its row in the table of runs: task, method, smoke, final_score, ..."""
    return self._table.runs.iloc[0]

  @property
  def _table(self):
    from rigl_rl import analysis

    results = analysis.load(self.directory, smoke=True)
    if len(results.problems):
      raise UserError(results.problems.reason[0])
    return results

  @functools.cached_property
  def _saved(self) -> saved_run.SavedRun:
    """The agent, with the weights of the newest checkpoint at first use."""
    with quiet.import_quietly():
      from rigl_rl.config import parsing
      from rigl_rl.training import saved_run
    with parsing.empty_config():
      return saved_run.load(self.directory)

  @property
  def step(self) -> int:
    """Environment steps (Atari: agent steps) that `policy` was trained for."""
    return self._saved.step

  @functools.cached_property
  def policy(self) -> saved_run.Policy:
    """Its greedy policy: maps an observation, or a batch, to actions.

    From the newest checkpoint when `policy` or `networks` is first used.
    """
    agent = self._saved.runner.agent
    from rigl_rl.training import saved_run

    return saved_run.Policy(agent)

  @property
  def networks(self) -> Mapping[str, tf.keras.layers.Layer]:
    """Its trained networks, from the same checkpoint.

    'online' of DQN; 'actor' and 'value' of PPO; 'actor', 'critic_1' and
    'critic_2' of SAC and TD3. A layer may store its active weights only:
    `named_layers(network)[path].kernel` gives all, zeros included.
    """
    return dict(self._saved.runner.agent.networks)


class Runs(list[Run]):
  """The runs below a directory.

  Attributes:
    evaluations: a table of one row per evaluation of any run, with the run's
      task, method, sparsity, seed, ...; see `rigl_rl.analysis.Results`.
    runs: a table of one row per run, in the order of this sequence.
    problems: a table of the directories that were left out, with the reason.
  """

  def __init__(self, results: analysis.Results):
    super().__init__(map(Run, results.runs.directory))
    self.evaluations = results.evaluations
    self.runs = results.runs
    self.problems = results.problems


def load_run(directory: str | os.PathLike[str]) -> Run:
  """Loads a run, which is only read, and may still be training.

  Its networks are built when they are first used. gin's config must be empty
  then, and is empty afterwards; log levels change as `train` says.

  Args:
    directory: the run directory; a path, or a URL that tf.io.gfile knows.

  Raises:
    UserError: there is no run.
  """
  path = _absolute(directory)
  record.check_run(path, 'load_run.directory')
  return Run(path)


def load_runs(directory: str | os.PathLike[str]) -> Runs:
  """Loads all runs in a directory and below it, such as those of a sweep.

  Args:
    directory: where to look; a path, or a URL that tf.io.gfile knows.

  Raises:
    UserError: there is no such directory.
  """
  from rigl_rl import analysis

  return Runs(analysis.load(_absolute(directory)))


def train(
  gin_files: str | Sequence[str],
  bindings: str | Sequence[str] | Mapping[str, Any] = (),
  base_dir: str | os.PathLike[str] = '',
  extend: str | None = None,
  track: str | None = None,
) -> Run:
  """Trains what gin files describe, as `launch.train` does.

  Called again with the same `base_dir`, it continues from the last checkpoint,
  and does nothing once the run is finished. gin's config must be empty, and is
  empty afterwards. TensorFlow runs two operations at a time, each in one
  thread, unless it has started already or was given other numbers.

  As the commands do, it raises the log levels of TensorFlow, absl, JAX and Gym
  in this process, and sets JAX_PLATFORMS to 'cpu' if it is not set: set it
  before if you compute with JAX on a GPU. RIGL_RL_VERBOSE=1 prevents both.

  Args:
    gin_files: one or more; from the current directory, or shipped ones, such as
      'gin_configs/graesser22/sac_mujoco/rigl.gin'. Later ones win.
    bindings: they win over the files: {'SPARSITY': 0.95, 'ENV_NAME':
      'Hopper-v4'}, or as gin writes them, ['SPARSITY = 0.95', ...]. In a dict,
      text that begins with '@' or '%' is a reference: '@uniform', '@RigL()'.
    base_dir: the run directory; created if missing.
    extend: 'stay' or 'stretch', to continue a finished run to a higher
      TRAIN_STEPS: windows of mask updates and decays end where they ended, or
      count by the new length from there on.
    track: 'wandb' to send what TensorBoard shows to Weights & Biases, too.

  Returns:
    The finished run.

  Raises:
    UserError: on a mistake in the config, or a base_dir that does not fit it.
  """
  if isinstance(gin_files, (str, os.PathLike)):
    gin_files = [gin_files]
  gin_files = [os.fspath(file) for file in gin_files]
  bindings = _as_text(bindings)
  # Before TensorFlow loads, which takes seconds.
  tracking.check(track)
  checking.check(gin_files, bindings)
  from rigl_rl.config import parsing

  with parsing.empty_config():
    with quiet.import_quietly():
      _use_default_threads()
      from rigl_rl.training import run
    with errors.of_incomplete_config():
      run.train_files(gin_files, bindings, os.fspath(base_dir), extend, track)
  return load_run(base_dir)


def _as_text(bindings: str | Sequence[str] | Mapping[str, Any]) -> list[str]:
  """Returns bindings as gin writes them."""
  if isinstance(bindings, str):
    return [bindings]
  if not isinstance(bindings, Mapping):
    return list(bindings)
  texts = []
  for name, value in bindings.items():
    if isinstance(value, np.generic):
      value = value.item()
    is_reference = isinstance(value, str) and value.startswith(('@', '%'))
    texts.append(f'{name} = {value if is_reference else repr(value)}')
  return texts


def _absolute(directory: str | os.PathLike[str]) -> str:
  """Returns a path that stays valid if the current directory changes."""
  path = os.path.expanduser(os.fspath(directory))
  return path if files.is_url(path) else os.path.realpath(path)


def _use_default_threads() -> None:
  import tensorflow as tf

  threads = tf.config.threading
  inter = threads.get_inter_op_parallelism_threads()
  if not (inter or threads.get_intra_op_parallelism_threads()):
    with contextlib.suppress(RuntimeError):  # TensorFlow has started.
      quiet.configure_threads()
