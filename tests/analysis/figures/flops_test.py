"""Tests of FLOPs against sparsity."""

import pytest

from rigl_rl import analysis
from rigl_rl.analysis import figures


def test_figure_7_draws_what_is_counted(tmp_path):
  asked = []

  def read_costs(gin_files, gin_bindings, sparsities):
    asked.append((gin_files, gin_bindings))
    return [
      {
        'distribution': name,
        'sparsity': sparsity,
        'forward_flops': factor * (1 - sparsity) * 1e6,
        'forward_share': factor * (1 - sparsity),
      }
      for name, factor in (('erdos_renyi_kernel', 1.5), ('uniform', 1.0))
      for sparsity in sparsities
    ]

  drawing = figures.draw(
    'graesser22/fig07',
    analysis.load(tmp_path),
    figures.Options(read_costs=read_costs),
  )
  assert asked == [
    ((f'gin_configs/graesser22/dqn_atari_{name}/static.gin',), bindings)
    for name, bindings in (
      ('cnn', ('GAME="MsPacman"',)),
      ('resnet', ('GAME="MsPacman"',)),
    )
  ]
  assert set(drawing.data.panel) == {'Nature CNN', 'IMPALA ResNet'}
  assert {0.0, 0.5, 0.8, 0.9, 0.95, 0.99} <= set(drawing.data.sparsity)
  lines = drawing.figure.axes[0].lines
  # Both distributions, the dense network and 80 %.
  assert len(lines) == 4
  assert lines[2].get_ydata()[0] == pytest.approx(1e6)


def test_without_costs_there_is_nothing(tmp_path):
  with pytest.raises(figures.NothingToDraw, match='launch.figures'):
    figures.draw('graesser22/fig07', analysis.load(tmp_path))
