"""Videos of an episode: MP4 in H.264, which browsers play, or GIF."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import numpy as np

from rigl_rl import errors, files, wording

# How ffmpeg encodes a video, by its suffix.
_ENCODINGS: dict[str, dict[str, Any]] = {
  '.mp4': {'codec': 'libx264', 'output_params': ['-movflags', '+faststart']},
  '.gif': {
    'codec': 'gif',
    'pix_fmt_out': 'pal8',
    'quality': None,
    # The best 256 colors of the whole video.
    'output_params': ['-vf', 'split[a][b];[a]palettegen[p];[b][p]paletteuse'],
  },
}
# Viewers show no more: of Hopper's 125 pictures per second every third stays.
_GIF_FPS = 50
# Smaller pictures, such as Atari's of 210 x 160, are shown in twice the size.
_SMALL = 300
# Seconds between two lines on stderr: without a GPU, an episode takes minutes.
_LINE_INTERVAL = 60


def check_path(path: str) -> None:
  """Raises UserError unless a video can be written there."""
  if os.path.splitext(path)[1].lower() not in _ENCODINGS or '://' in path:
    raise errors.UserError(
      f"--video is {path!r}, but must be a file of this machine's that ends in "
      f'{" or ".join(_ENCODINGS)}.'
    )
  if not os.access(os.path.dirname(path) or '.', os.W_OK):
    raise errors.UserError(
      f'--video is {path!r}, which cannot be written; its directory must '
      'exist and be writable.'
    )


class Recorder:
  """Writes the first episode of an environment to a file.

  What is not named here is the filmed environment's, of Dopamine's protocol or
  TF-Agents'. It needs `render()` and `render_fps`.

  Attributes:
    frames: pictures taken.
  """

  def __init__(self, path: str):
    """Begins no file yet.

    Args:
      path: of the video, which appears there at the end of a `with` block.

    Raises:
      UserError: a video cannot be written there.
    """
    check_path(path)
    self.frames = 0
    self._path = path
    self._suffix = os.path.splitext(path)[1].lower()
    # ffmpeg knows the kind of file by the suffix.
    self._temporary = files.temporary_name(path) + self._suffix
    self._episodes = 0
    self._writer = None
    self._next_line = time.monotonic() + _LINE_INTERVAL

  def film(self, environment: Any) -> Recorder:
    """Returns the environment, which is filmed from now on.

    Raises:
      UserError: it gives no pictures.
    """
    for name in ('render', 'render_fps'):
      if not hasattr(environment, name):
        raise errors.UserError(
          f'--video is {self._path!r}, but the run has an environment of its '
          f'own without {name}: a video can be made of Atari games and '
          'gymnasium tasks.'
        )
    self._environment = environment
    fps = environment.render_fps
    self._every = math.ceil(fps / _GIF_FPS) if self._suffix == '.gif' else 1
    self._fps = fps / self._every
    return self

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_'):  # Otherwise a copy would never end.
      raise AttributeError(name)
    return getattr(self._environment, name)

  def reset(self) -> Any:
    """Starts an episode."""
    result = self._environment.reset()
    self._episodes += 1
    self._record()
    return result

  def step(self, action: Any) -> Any:
    """Takes a step."""
    result = self._environment.step(action)
    self._record()
    return result

  def _record(self) -> None:
    if self._episodes > 1:
      return
    if self.frames % self._every == 0:
      self._write(_shown(self._environment.render('rgb_array')))
    self.frames += 1
    if time.monotonic() >= self._next_line:
      frames = wording.count(self.frames, 'frame')
      print(f'{frames} of the video', file=sys.stderr, flush=True)
      self._next_line = time.monotonic() + _LINE_INTERVAL

  def _write(self, picture: np.ndarray) -> None:
    if self._writer is None:
      import imageio_ffmpeg

      self._writer = imageio_ffmpeg.write_frames(
        self._temporary,
        picture.shape[1::-1],
        fps=self._fps,
        macro_block_size=2,
        **_ENCODINGS[self._suffix],
      )
      self._writer.send(None)
    self._writer.send(picture)

  def __enter__(self) -> Recorder:
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    """Writes the file; leaves none after an error."""
    if self._writer is None:
      return
    self._writer.close()
    if kind is None:
      files.rename(self._temporary, self._path)
    else:
      files.remove(self._temporary)


def _shown(picture: np.ndarray) -> np.ndarray:
  """A picture of even height and width, and not too small."""
  if max(picture.shape[:2]) < _SMALL:
    picture = picture.repeat(2, axis=0).repeat(2, axis=1)
  height, width = (size - size % 2 for size in picture.shape[:2])
  return np.ascontiguousarray(picture[:height, :width])
