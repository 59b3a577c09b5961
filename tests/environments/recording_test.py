"""Tests of videos."""

import cv2
import numpy as np
import pytest
from PIL import Image

from rigl_rl.environments import atari, classic_control, recording


class _Counter:
  """Shows how many steps there were, as a shade of gray."""

  def __init__(self, fps=20.0, shape=(40, 31)):
    self.render_fps = fps
    self.shape = (*shape, 3)
    self.steps = 0

  def reset(self):
    self.steps = 0
    return 'first'

  def step(self, action):
    self.steps += 1
    return f'after {action}'

  def render(self, mode):
    assert mode == 'rgb_array'
    return np.full(self.shape, 4 * self.steps, np.uint8)


def _record(environment, path, steps=30):
  with recording.Recorder(str(path)) as recorder:
    recorder.film(environment)
    assert recorder.reset() == 'first'
    for action in range(steps):
      assert recorder.step(action) == f'after {action}'
    assert recorder.steps == steps  # As everything else.
    # The second episode is not filmed.
    recorder.reset()
    recorder.step(0)
    assert recorder.frames == steps + 1
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_mp4(tmp_path):
  _record(_Counter(), tmp_path / 'a.mp4')
  video = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
  assert video.get(cv2.CAP_PROP_FPS) == 20
  shades = []
  while True:
    found, picture = video.read()
    if not found:
      break
    # Twice the size, both even.
    assert picture.shape == (80, 62, 3)
    shades.append(picture.mean())
  # What browsers play.
  content = (tmp_path / 'a.mp4').read_bytes()
  assert b'avc1' in content and b'mp4v' not in content
  # The index comes first, so that it plays while it loads.
  assert content.index(b'moov') < content.index(b'mdat')
  assert len(shades) == 31
  assert shades[0] < 4 and 110 < shades[-1] < 130
  assert np.all(np.diff(shades) > 0)


@pytest.mark.parametrize(
  'fps,frames,milliseconds', [(20.0, 31, 50), (125.0, 11, 20)]
)
def test_gif(tmp_path, fps, frames, milliseconds):
  _record(_Counter(fps, (300, 200)), tmp_path / 'a.GIF')
  with Image.open(tmp_path / 'a.GIF') as image:
    assert image.size == (200, 300)
    assert image.n_frames == frames
    assert image.info['duration'] == milliseconds
    image.seek(frames - 1)
    assert image.convert('RGB').getpixel((5, 5)) == (120, 120, 120)


def test_an_interrupted_video_leaves_no_file(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with recording.Recorder(str(tmp_path / 'a.mp4')) as recorder:
      recorder.film(_Counter()).reset()
      raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_a_long_video_says_how_far_it_is(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(recording, '_LINE_INTERVAL', 0)
  _record(_Counter(), tmp_path / 'a.mp4', steps=1)
  lines = capsys.readouterr().err.splitlines()
  assert lines == ['1 frame of the video', '2 frames of the video']


@pytest.mark.parametrize('name', ['a.avi', 'a', 'mp4', 'gs://b/a.mp4'])
def test_no_such_kind(name, user_error):
  with user_error(f'--video is {name!r}', '.mp4 or .gif'):
    recording.Recorder(name)


@pytest.mark.parametrize('kind', ['mp4', 'gif'])
def test_cannot_be_written(kind, tmp_path, user_error):
  path = tmp_path / 'none' / f'a.{kind}'
  with user_error('--video is', 'cannot be written'):
    _record(_Counter(), path)


def test_an_environment_without_pictures(user_error):
  with user_error("--video is 'a.mp4'", 'render'):
    recording.Recorder('a.mp4').film(object())


def test_classic_control_shows_itself(user_error):
  make = classic_control.create_classic_control_environment
  env = make('CartPole-v0', seed=0, render=True)
  env.reset()
  picture = env.render()
  assert picture.shape == (400, 600, 3) and picture.dtype == np.uint8
  assert picture.std() > 1
  assert env.render_fps == 50
  env.close()
  env = make('CartPole-v0', seed=0)
  env.reset()
  with user_error('--video is given', 'CartPole-v0'):
    env.render()


def test_atari_shows_its_screen():
  env = atari.create_atari_environment('Pong', seed=0)
  env.reset()
  assert env.render('rgb_array').shape == (210, 160, 3)
  assert env.render_fps == 15
