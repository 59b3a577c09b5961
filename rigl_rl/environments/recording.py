"""Videos of an episode: MP4, or GIF."""

from __future__ import annotations

import io
import math
import os
from typing import Any

import numpy as np

from rigl_rl import errors, files

SUFFIXES = ('.mp4', '.gif')
# Smaller pictures, such as Atari's of 210 x 160, are shown in twice the size.
_SMALL = 300
_GIF_FPS = 50


def check_path(path: str) -> None:
  """Raises UserError unless a video can be written there, by its name."""
  if os.path.splitext(path)[1].lower() not in SUFFIXES or '://' in path:
    raise errors.UserError(
      f"--video is {path!r}, but must be a file of this machine's that ends in "
      f'{" or ".join(SUFFIXES)}.'
    )


class Recorder:
  """Writes the first episode of an environment to a file.

  What is not named here is the wrapped environment's, of Dopamine's protocol or
  TF-Agents'. It needs `render()` and `render_fps`.
  """

  def __init__(self, environment: Any, path: str):
    """Begins no file yet.

    Args:
      environment: to be recorded.
      path: of the video, which appears there when `close_video` is called.

    Raises:
      UserError: there is no such kind of video, or the environment gives no
        pictures.
    """
    check_path(path)
    for name in ('render', 'render_fps'):
      if not hasattr(environment, name):
        raise errors.UserError(
          f'--video is {path!r}, but the run has an environment of its own '
          f'without {name}: a video can be made of Atari games and '
          'gymnasium tasks.'
        )
    self._environment = environment
    make = _Gif if path.lower().endswith('.gif') else _Mp4
    self._video = make(path, environment.render_fps)
    self._episodes = 0
    self.frames = 0

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_'):  # Else copying this object would never end.
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
    if self._episodes == 1:
      self._video.add(_shown(self._environment.render('rgb_array')))
      self.frames += 1

  def close_video(self) -> None:
    """Writes the file."""
    self._video.close()


def _shown(picture: np.ndarray) -> np.ndarray:
  """A picture of even height and width, and not too small."""
  if max(picture.shape[:2]) < _SMALL:
    picture = picture.repeat(2, axis=0).repeat(2, axis=1)
  height, width = (size - size % 2 for size in picture.shape[:2])
  return np.ascontiguousarray(picture[:height, :width])


def _cannot_write(path: str, reason: str) -> errors.UserError:
  return errors.UserError(
    f'--video is {path!r}, which cannot be written ({reason}); its directory '
    'must be there, and writable.'
  )


class _Mp4:
  """MPEG-4 part 2: the one codec of MP4 in OpenCV's packages that is fast."""

  def __init__(self, path: str, fps: float):
    self._path = path
    self._fps = fps
    self._writer = None
    # OpenCV knows the kind by the suffix.
    self._temporary = f'{files.temporary_name(path)}.mp4'

  def add(self, picture: np.ndarray) -> None:
    import cv2

    if self._writer is None:
      directory = os.path.dirname(self._path) or '.'
      if not os.access(directory, os.W_OK):
        raise _cannot_write(self._path, 'no such directory, or no permission')
      height, width = picture.shape[:2]
      self._writer = cv2.VideoWriter(
        self._temporary,
        cv2.VideoWriter_fourcc(*'mp4v'),
        self._fps,
        (width, height),
      )
      if not self._writer.isOpened():
        raise _cannot_write(self._path, 'OpenCV has no encoder for it')
    self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

  def close(self) -> None:
    if self._writer is not None:
      self._writer.release()
      files.rename(self._temporary, self._path)


class _Gif:
  """256 colors each picture; all are held until the end."""

  def __init__(self, path: str, fps: float):
    self._path = path
    # Viewers show no more than 50 a second: of Hopper's 125 every third stays.
    self._every = math.ceil(fps / _GIF_FPS)
    self._milliseconds = 10 * max(round(100 * self._every / fps), 2)
    self._count = 0
    self._pictures = []

  def add(self, picture: np.ndarray) -> None:
    from PIL import Image

    if self._count % self._every == 0:
      self._pictures.append(Image.fromarray(picture).quantize(256))
    self._count += 1

  def close(self) -> None:
    if not self._pictures:
      return
    video = io.BytesIO()
    self._pictures[0].save(
      video,
      format='GIF',
      save_all=True,
      append_images=self._pictures[1:],
      duration=self._milliseconds,
      loop=0,
    )
    try:
      files.write(self._path, video.getvalue())
    except OSError as error:
      raise _cannot_write(self._path, error.strerror or str(error)) from error
