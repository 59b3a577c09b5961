"""Draws the pictures of README.md from the tables in results/.

  python docs/pictures.py

makes docs/images/{time_against_sparsity,classic_control,learning_curves}.png.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from rigl_rl.analysis.figures import (
  base,
  comparison,
  selection,
  size,
  speed,
  style,
)

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / 'results'


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
  def find(self, request):
    data = pd.read_csv(_RESULTS / 'learning_curves.csv')
    return self.found(data, ['Two or three seeds.'])


def draw(directory: pathlib.Path) -> list[pathlib.Path]:
  """Draws all pictures; returns their paths."""
  times = pd.read_csv(_RESULTS / 'speed_sac.csv')
  figures = {
    'time_against_sparsity': speed.time_against_sparsity(
      times[times.storage != 'auto'],
      'SAC on HalfCheetah: time of training, on two cores',
      ['Medians and ranges of three turns.'],
    )
  }
  for name, kind, title in (
    ('classic_control', _Sizes(()), 'DQN, dense and sparse, by size.'),
    (
      'learning_curves',
      _Curves(),
      'RigL: DQN and SAC at 90 % sparsity, PPO (Hopper) at 80 %.',
    ),
  ):
    request = base.Request(
      name, title, None, base.Options(), selection.Progress(None)
    )
    figures[name] = kind.draw(request).figure
  written = []
  for name, figure in figures.items():
    written.append(directory / f'{name}.png')
    written[-1].write_bytes(style.rendered(figure, 'png'))
  return written


if __name__ == '__main__':
  for path in draw(_ROOT / 'docs' / 'images'):
    print(path)
