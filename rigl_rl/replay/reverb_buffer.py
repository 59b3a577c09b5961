"""Replay of single transitions in a Reverb server (extra `reverb`)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import numpy as np
import tensorflow as tf

from rigl_rl import checks, seeding
from rigl_rl.domains import BatchSize, Capacity
from rigl_rl.errors import UserError
from rigl_rl.replay import manifests as manifests_lib
from rigl_rl.replay import transition_buffer

_MANIFEST_FORMAT = 1
_TABLE = 'transitions'
# reverb-<transitions added>-<digits of the time>.
_CHECKPOINT_PATTERN = re.compile(r'reverb-\d{12}-\d+')


@gin.configurable(denylist=['observation_shape', 'action_shape', 'seed'])
class ReverbBuffer:
  """The last transitions, in a Reverb server that runs in this process.

  It is used as `TransitionBuffer` is, and differs from it in this:

  - Reverb draws the samples, from a generator that can be neither seeded nor
    saved. Runs with the same seed differ, and so do a run that was restarted
    and one that was not. What a checkpoint restores are the transitions.
  - It draws them ahead: a batch is drawn when the one before it is taken, and
    lacks what has been added since.
  - A checkpoint holds all transitions, not only the new ones.
  - `capacity` counts transitions alone.
  - It is slower (some tenths of a millisecond to add a transition, some
    milliseconds to sample 256), and takes 5 kB of memory for a transition of
    HalfCheetah, 6.5 kB for one of Humanoid.
  - Other processes may sample from its table 'transitions' at `server_address`,
    until a checkpoint is loaded, into a new server. Reverb listens on all
    network interfaces and lets anybody in.

  Reverb writes to the directory of temporary files (environment variable
  TMPDIR) before a checkpoint is moved to the run directory.
  """

  def __init__(
    self,
    observation_shape: Sequence[int],
    action_shape: Sequence[int],
    seed: int,
    capacity: Capacity = 1000000,
    batch_size: BatchSize = 256,
  ):
    """Starts a server.

    Args:
      observation_shape: shape of one observation.
      action_shape: shape of one action.
      seed: non-negative integer; checked, but Reverb has no use for it.
      capacity: transitions kept, at least 1; then the oldest one is lost.
      batch_size: transitions in a sample, at least 1.

    Raises:
      UserError: if a size is out of range, or Reverb is not installed.
    """
    checks.check_number('ReverbBuffer.capacity', capacity, 1, whole=True)
    checks.check_number('ReverbBuffer.batch_size', batch_size, 1, whole=True)
    seeding.check_seed(seed)
    self._reverb = _import_reverb()
    self._capacity = int(capacity)
    self._batch_size = int(batch_size)
    self._observation_shape = tuple(observation_shape)
    self._action_shape = tuple(action_shape)
    self._shapes = transition_buffer.Transitions(
      observation=self._observation_shape,
      action=self._action_shape,
      reward=(),
      discount=(),
      next_observation=self._observation_shape,
    )
    self._close = None
    self._clear()

  # ----------------------------------------------------------------- server

  def _clear(self) -> None:
    """Replaces the server by a new, empty one."""
    self._start(None)

  def _start(self, checkpoint: str | None) -> None:
    """Replaces the server by one that has loaded a checkpoint.

    Args:
      checkpoint: its directory, or None to begin with no transitions.

    Raises:
      RuntimeError: if the checkpoint is damaged.
    """
    self.close()
    reverb = self._reverb
    with contextlib.ExitStack() as stack:
      directory = tempfile.mkdtemp(prefix='rigl_rl-reverb-')
      stack.callback(shutil.rmtree, directory, ignore_errors=True)
      table = reverb.Table(
        _TABLE,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=self._capacity,
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature=transition_buffer.Transitions(
          *(tf.TensorSpec(shape, tf.float32) for shape in self._shapes)
        ),
      )
      server = reverb.Server(
        [table],
        checkpointer=reverb.platform.checkpointers_lib.DefaultCheckpointer(
          directory, fallback_checkpoint_path=checkpoint
        ),
      )
      stack.callback(server.stop)
      self._server_address = f'localhost:{server.port}'
      self._client = reverb.Client(self._server_address)
      # An item refers to the last two observations.
      self._writer = self._client.trajectory_writer(num_keep_alive_refs=2)
      stack.callback(self._writer.close)
      # An iterator that draws ahead: the server cannot stop while it lives.
      self._batches = []
      stack.callback(self._batches.clear)
      # At the latest when this object, or the process, ends.
      self._close = weakref.finalize(self, stack.pop_all().close)
    self._num_added = 0
    # The bytes of the last transition's next observation, unless it ended an
    # episode.
    self._next_observation = None

  def close(self) -> None:
    """Stops the server; what it holds is lost. To be called once or more."""
    if self._close is not None:
      self._close()

  @property
  def server_address(self) -> str:
    """Host and port of the server."""
    return self._server_address

  def __len__(self) -> int:
    """How many transitions may be sampled."""
    return min(self._num_added, self._capacity)

  @property
  def num_added(self) -> int:
    """How many transitions have ever been added through this object."""
    return self._num_added

  @property
  def capacity(self) -> int:
    return self._capacity

  @property
  def batch_size(self) -> int:
    return self._batch_size

  # ----------------------------------------------------- adding and sampling

  def add(
    self,
    observation: np.ndarray,
    action: np.ndarray,
    reward: float,
    discount: float,
    next_observation: np.ndarray,
    is_last: bool,
  ) -> None:
    """Adds a transition; the oldest is lost if the buffer is full.

    It is in the server when this returns. An observation that is not the next
    observation of the transition before begins an episode, as one after
    `is_last` does.

    Args:
      observation: of shape observation_shape, cast to float32 and copied, as
        are all of these.
      action: the action taken on it, of shape action_shape.
      reward: the reward received for it.
      discount: 0 if the action terminated the episode, else 1.
      next_observation: what the action led to, of shape observation_shape.
      is_last: whether the episode ends here, terminated or cut off.

    Raises:
      ValueError: if an array has another shape.
    """
    step = transition_buffer.Transitions(
      *(
        np.asarray(value, np.float32)
        for value in (observation, action, reward, discount, next_observation)
      )
    )
    for name, value, shape in zip(step._fields, step, self._shapes):
      if value.shape != shape:
        raise ValueError(f'{name} has shape {value.shape}, expected {shape}.')
    writer = self._writer
    if self._next_observation != step.observation.tobytes():
      writer.end_episode()
      writer.append({'observation': step.observation})
    # An observation is stored once, with what led to it.
    writer.append(
      {
        'observation': step.next_observation,
        'action': step.action,
        'reward': step.reward,
        'discount': step.discount,
      }
    )
    history = writer.history
    writer.create_item(
      _TABLE,
      priority=1.0,
      trajectory=transition_buffer.Transitions(
        observation=history['observation'][-2],
        action=history['action'][-1],
        reward=history['reward'][-1],
        discount=history['discount'][-1],
        next_observation=history['observation'][-1],
      ),
    )
    writer.flush()
    self._num_added += 1
    self._next_observation = step.next_observation.tobytes()
    if is_last:
      self._next_observation = None

  def sample(self) -> transition_buffer.Transitions:
    """Returns `batch_size` transitions, new arrays.

    Raises:
      RuntimeError: if none has been added.
    """
    if not self._num_added:
      raise RuntimeError('The replay is empty: there is nothing to sample.')
    if not self._batches:
      dataset = self._reverb.TrajectoryDataset(
        self._server_address,
        _TABLE,
        dtypes=transition_buffer.Transitions(*[tf.float32] * 5),
        shapes=self._shapes._make(map(tf.TensorShape, self._shapes)),
        # One worker that stays at most one batch ahead.
        max_in_flight_samples_per_worker=self._batch_size,
        num_workers_per_iterator=1,
      )
      options = tf.data.Options()
      # TensorFlow would draw dozens of batches ahead.
      options.experimental_optimization.inject_prefetch = False
      dataset = dataset.batch(self._batch_size).with_options(options)
      self._batches.append(iter(dataset))
    batch = next(self._batches[0]).data
    return transition_buffer.Transitions(*(values.numpy() for values in batch))

  # ---------------------------------------------------------- checkpointing

  def save(self, directory: str) -> dict[str, Any]:
    """Writes all transitions into a new directory in `directory`.

    A checkpoint is the returned manifest, which the caller has to keep; it
    names the new directory. Those that no manifest names any more are removed
    by `manifests.delete_unused`.

    Args:
      directory: an existing directory, through tf.io.gfile.

    Returns:
      The manifest, a dict of JSON values.
    """
    written = self._client.checkpoint()
    # Reverb names it after the time.
    digits = re.sub(r'\D', '', os.path.basename(os.path.normpath(written)))
    name = f'reverb-{self._num_added:012d}-{digits}'
    target = os.path.join(directory, name)
    tf.io.gfile.makedirs(target)
    sizes = {}
    for file in sorted(os.listdir(written)):
      path = os.path.join(target, file)
      _move(os.path.join(written, file), path)
      sizes[file] = tf.io.gfile.stat(path).length
    return {
      'format': _MANIFEST_FORMAT,
      'signature': self._signature(),
      'num_added': self._num_added,
      'checkpoint': name,
      'sizes': sizes,
    }

  def load(self, directory: str, manifest: Mapping[str, Any]) -> None:
    """Restores the transitions, but not what will be sampled of them.

    Args:
      directory: where `save` wrote.
      manifest: what `save` returned.

    Raises:
      ValueError: if a file is missing or damaged, or the manifest is that of
        another kind of buffer. The buffer is empty then, and an earlier
        manifest can be loaded.
    """
    with manifests_lib.loading(self._clear):
      manifests_lib.check(manifest, _MANIFEST_FORMAT, self._signature())
      num_added = int(manifest['num_added'])
      name = manifest['checkpoint']
      if not _CHECKPOINT_PATTERN.fullmatch(name):
        raise ValueError(f'The replay has no checkpoint {name!r}.')
      checkpoint = os.path.join(directory, name)
      # Reverb starts empty, without a word, if it finds no checkpoint.
      for file, size in manifest['sizes'].items():
        path = os.path.join(checkpoint, file)
        if not tf.io.gfile.exists(path):
          raise ValueError(f'The replay file {path} is missing.')
        if tf.io.gfile.stat(path).length != size:
          raise ValueError(
            f'The replay file {path} is damaged: its size is not {size}.'
          )
      try:
        self._start(checkpoint)
      except RuntimeError as e:
        raise ValueError(
          f'The replay checkpoint {checkpoint} is damaged: {e}'
        ) from e
      found = self._client.server_info()[_TABLE].current_size
      if found != min(num_added, self._capacity):
        raise ValueError(
          f'The replay checkpoint {checkpoint} is damaged: it holds {found}'
          f' transitions of {min(num_added, self._capacity)}.'
        )
      self._num_added = num_added

  def _signature(self) -> dict[str, Any]:
    """Describes what has to be equal for a load to make sense."""
    return {
      'buffer': 'ReverbBuffer',
      'capacity': self._capacity,
      'observation_shape': list(self._observation_shape),
      'action_shape': list(self._action_shape),
    }


def _import_reverb() -> Any:
  """Returns the module; a UserError if there is none, or one that fails."""
  try:
    import reverb
  except (ImportError, tf.errors.OpError) as e:
    reason = str(e).strip().split('\n')[0]
    raise UserError(
      '@ReverbBuffer is bound as the replay, but dm-reverb cannot be imported'
      f' ({reason}): install it with `pip install rigl_rl[reverb]`, or bind'
      ' @TransitionBuffer.'
    ) from e
  return reverb


def _move(source: str, target: str) -> None:
  """Moves a local file, also to another file system."""
  try:
    tf.io.gfile.rename(source, target)
  except tf.errors.OpError:
    tf.io.gfile.copy(source, target, overwrite=True)
    tf.io.gfile.remove(source)
