"""The curve: what it draws, and what it does not import."""

import os
import struct
import subprocess
import sys

import gin
import pytest
from matplotlib import figure

from rigl_rl.training import curve


def row(step, mean, std=3.0):
  return {'step': step, 'return_mean': mean, 'return_std': std}


def test_png_of_the_stated_size():
  history = [row(step * 2000, float(step)) for step in range(1, 31)]
  data = curve.draw_curve(history, title='CartPole-v0 · RigL')
  assert data[:8] == b'\x89PNG\r\n\x1a\n'
  assert struct.unpack('>II', data[16:24]) == (1050, 600)
  # What is drawn depends on the history.
  assert curve.draw_curve(history[:4], title='CartPole-v0 · RigL') != data


def test_matplotlib_is_imported_late_and_pyplot_never():
  code = (
    'import sys\n'
    'from rigl_rl import quiet\n'
    'quiet.silence()\n'
    'from rigl_rl.training import curve\n'
    'assert "matplotlib" not in sys.modules\n'
    'curve.draw_curve([{"step": 1, "return_mean": 1., "return_std": 0.}])\n'
    'print(*sys.modules)\n'
  )
  path = os.pathsep.join(path for path in sys.path if path)
  modules = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, 'PYTHONPATH': path},
  ).stdout.split()
  assert 'matplotlib' in modules
  assert 'matplotlib.pyplot' not in modules


@pytest.fixture(name='drawn')
def _drawn(monkeypatch):
  """The axes that are drawn on."""
  drawn = []
  add = figure.Figure.add_subplot

  def keep(self, *arguments, **keywords):
    drawn.append(add(self, *arguments, **keywords))
    return drawn[-1]

  monkeypatch.setattr(figure.Figure, 'add_subplot', keep)
  return drawn


def test_shows_mean_band_and_score(drawn):
  history = [row(step, float(step), 2.0) for step in range(1, 21)]
  curve.draw_curve(history, title='title')
  (axes,) = drawn
  mean, score = axes.lines
  assert list(mean.get_ydata()) == [float(step) for step in range(1, 21)]
  assert score.get_ydata()[0] == 19.5
  assert score.get_label() == 'final score 19.5 (last 10 %)'
  (band,) = axes.collections
  vertices = band.get_paths()[0].vertices
  assert vertices[:, 1].min() == -1.0 and vertices[:, 1].max() == 22.0
  assert axes.get_title(loc='left') == 'title'


def test_the_band_ends_where_returns_end(drawn):
  history = [row(step, 190.0, 20.0) for step in range(1, 4)]
  curve.draw_curve(history, returns=(0.0, 200.0))
  curve.draw_curve(history)
  bands = [axes.collections[0].get_paths()[0].vertices for axes in drawn]
  assert [band[:, 1].max() for band in bands] == [200.0, 210.0]
  assert [band[:, 1].min() for band in bands] == [170.0, 170.0]


def test_score_is_of_the_evaluations_that_are_bound(drawn):
  history = [row(step, float(step), 2.0) for step in range(1, 21)]
  gin.bind_parameter('final_score.last', 10)
  try:
    curve.draw_curve(history)
  finally:
    gin.clear_config()
  score = drawn[0].lines[1]
  assert score.get_ydata()[0] == 15.5
  assert score.get_label() == 'final score 15.5 (last 10 evaluations)'
