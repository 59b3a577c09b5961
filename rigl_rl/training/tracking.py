"""A tracker that follows runs: `launch.train --track`.

It reads the TensorBoard events that a run writes anyway.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import uuid
from typing import Iterator

from rigl_rl import files, quiet, readers
from rigl_rl.errors import UserError
from rigl_rl.training import record
from rigl_rl.training import run_directory as run_directory_lib

TRACKERS = ('wandb',)
# Holds the identity by which a run continues in the tracker.
_ID = 'wandb_id'


def check(track: str | None) -> None:
  """Raises UserError if there is no such tracker, or it is not installed."""
  if track is None:
    return
  if track not in TRACKERS:
    raise UserError(
      f'--track is {track!r}, but must be one of {", ".join(TRACKERS)}.'
    )
  spec = importlib.util.find_spec(track)
  # wandb leaves a directory of its own name, which Python takes for a package.
  if spec is None or spec.origin is None:
    raise UserError(
      f'--track is {track!r}, but {track} is not installed: install it, or '
      f'the extra {track!r} of this package.'
    )


@contextlib.contextmanager
def follow(
  track: str | None, directory: run_directory_lib.RunDirectory
) -> Iterator[None]:
  """Sends the events that are written within to a tracker.

  A run that is continued continues in the tracker, too. Seeds of one setting
  form a group there, as in TensorBoard. WANDB_PROJECT, WANDB_RUN_GROUP and
  WANDB_NAME in the environment win.

  Args:
    track: the tracker, see `check`; None for none.
    directory: of the run, whose run.json is written.

  Raises:
    UserError: the tracker does not start.
  """
  if track is None:
    yield
    return
  with quiet.import_quietly():
    import wandb
  described = record.describe(directory.path())
  settings = directory.settings()
  path = directory.path(_ID)
  if not files.exists(path):
    files.write(path, uuid.uuid4().hex[:12])
  name = record.heading(described)
  digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
  environ = os.environ.get
  try:
    tracked = wandb.init(
      id=readers.read_text(path),
      resume='allow',
      project=environ('WANDB_PROJECT', 'rigl-rl'),
      group=environ('WANDB_RUN_GROUP', f'{name}, {digest[:6]}'),
      name=environ('WANDB_NAME', f'{name}, seed {described["seed"]}'),
      config=record.with_numbers(described['bindings']),
      # The run's own lines are printed unchanged.
      settings=wandb.Settings(console='off', silent=True),
    )
  except wandb.errors.Error as error:
    raise UserError(
      f'--track is {track!r}, which does not start: {readers.reason(error)}'
    ) from error
  where = tracked.settings.sync_dir if tracked.offline else tracked.url
  print(f'Tracked: {where}', flush=True)
  with tracked:
    wandb.tensorboard.patch(root_logdir=directory.events)
    try:
      yield
    finally:
      wandb.tensorboard.unpatch()
