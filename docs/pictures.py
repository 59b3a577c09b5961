"""Draws the pictures of README.md from the tables in results/.

  python docs/pictures.py

makes time_against_sparsity.png, sac_and_ppo.png and demo.png, which README.md
shows at half a page's width, classic_control.png and learning_curves.png, in
docs/images.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from rigl_rl.analysis.figures import (
  base,
  comparison,
  size,
  speed,
  style,
)
from rigl_rl.training import curve

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / 'results'
_RIGL = 'Learning curves of RigL, by sparsity.'
_ACTOR_CRITICS = {
  'HalfCheetah-v4': 'SAC, HalfCheetah-v4, 90 %',
  'Hopper-v4': 'PPO, Hopper-v4, 80 %',
}


class _Sizes(size.ReturnAgainstSize):
  """The panels of figure 8 that have sparse networks."""

  def find(self, request):
    data = pd.read_csv(_RESULTS / 'graesser22_fig08.csv')
    data = data[data.row == 'ERK']
    cells = [
      base.Cell(task, own, 'parameters')
      for task, own in data.groupby('task', sort=False)
    ]
    notes = ('Final return over three seeds.',)
    return base.Found(data, cells, base.AXES['parameters'], notes=notes)


class _Curves(comparison.Comparison):
  """Learning curves; `titles` maps tasks to titles of panels."""

  titles = {'CartPole-v0': 'DQN, CartPole-v0, 90 %', **_ACTOR_CRITICS}
  seeds = 'Two seeds (CartPole: three).'

  def find(self, request):
    data = pd.read_csv(_RESULTS / 'learning_curves.csv')
    data = data[data.task.isin(self.titles)]
    found = self.found(data.replace({'task': self.titles}), [self.seeds])
    return found._replace(face_notes=())


class _SmallCurves(_Curves):
  titles = _ACTOR_CRITICS
  seeds = 'Two seeds.'
  # For README, which shows them small.
  grid = {'panel': (2.3, 2.8)}


def draw(directory: pathlib.Path) -> list[pathlib.Path]:
  """Draws all pictures; returns their paths."""
  times = pd.read_csv(_RESULTS / 'speed_sac.csv')
  figures = {
    'time_against_sparsity': speed.time_against_sparsity(
      times.assign(width=(256 * times.width).astype(int)),
      'SAC on HalfCheetah: time of training, on two cores, by units of a layer',
      ['Medians and ranges of five turns.'],
    )
  }
  for name, kind in (
    ('classic_control', _Sizes('DQN, dense and sparse, by size.', ())),
    ('sac_and_ppo', _SmallCurves(_RIGL)),
    ('learning_curves', _Curves(_RIGL)),
  ):
    figures[name] = kind.draw(base.Request(name)).figure
  written = []
  for name, figure in figures.items():
    written.append(directory / f'{name}.png')
    written[-1].write_bytes(style.rendered(figure, 'png'))
  demo = pd.read_csv(_RESULTS / 'demo.csv').to_dict('records')
  title = 'RigL at 90 % sparsity (3 of 3 layers stored sparsely) on CartPole-v0'
  written.append(directory / 'demo.png')
  written[-1].write_bytes(curve.draw_curve(demo, title, (0, 200)))
  return written


if __name__ == '__main__':
  for path in draw(_ROOT / 'docs' / 'images'):
    print(path)
