"""Tests of what is counted from gin files."""

import pytest

from rigl_rl import analysis
from rigl_rl.analysis import figures
from rigl_rl.analysis.figures import counted


def test_figure_7_draws_what_is_counted(tmp_path, monkeypatch):
  asked = []

  def read_costs(gin_file, gin_binding, sparsities):
    asked.append((gin_file, gin_binding))
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

  monkeypatch.setattr(counted, 'read_costs', read_costs)
  drawing = figures.draw('graesser22/fig07', analysis.load(tmp_path))
  assert asked == [
    (
      f'gin_configs/graesser22/dqn_atari_{name}/static.gin',
      'GAME="MsPacman"',
    )
    for name in ('cnn', 'resnet')
  ]
  assert set(drawing.data.panel) == {'Nature CNN', 'IMPALA ResNet'}
  assert {0.0, 0.5, 0.8, 0.9, 0.95, 0.99} <= set(drawing.data.sparsity)
  lines = drawing.figure.axes[0].lines
  # Both distributions, the dense network and 80 %.
  assert len(lines) == 4
  assert lines[2].get_ydata()[0] == pytest.approx(1e6)
