"""Tests of signal-to-noise ratios over training."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures


def _write(directory, method, agent, task, ratios, seed=0):
  """A run of 100,000 or a million steps, with two ratios."""
  steps = 100_000 if agent == 'DQN' else 1_000_000
  name = 'DQN' if agent == 'DQN' else agent.capitalize()
  path = synthetic_runs.write_run(
    directory,
    method,
    agent,
    task,
    seed=seed,
    train_steps=steps,
    more={f'Sparse{name}Agent.summarize_gradient_snr': True},
  )
  synthetic_runs.write_events(
    path,
    [
      (round(share * steps), {tag: value})
      for tag, value in ratios.items()
      for share in (0.25, 0.75)
    ],
  )


def test_figure_5(tmp_path):
  name = 'gradients/snr'
  for seed, value in enumerate((0.1, 0.3)):
    _write(
      tmp_path / f'a{seed}',
      'Dense',
      'DQN',
      'Acrobot-v1',
      {name: value},
      seed,
    )
  _write(
    tmp_path / 'b',
    'Dense',
    'DQN',
    'CartPole-v0',
    {name: 0.4, 'train/loss': 7.0},
  )
  _write(
    tmp_path / 'c',
    'RigL',
    'SAC',
    'Ant-v4',
    {f'{name}/actor': 0.05, f'{name}/critic': 0.5},
  )
  drawing = figures.draw('graesser22/fig05', analysis.load(tmp_path))
  data = drawing.data
  dqn = data[data.panel == 'DQN']
  assert list(dqn.step) == [25_000, 75_000]
  # The mean over two tasks of the mean over seeds, 0.2 and 0.4.
  assert list(dqn.snr) == pytest.approx([0.3, 0.3])
  assert list(dqn.runs) == [3, 3]
  assert set(dqn.tasks) == {'Acrobot-v1 CartPole-v0'}
  sac = data[data.panel != 'DQN'].groupby('panel').snr.mean()
  assert sac.to_dict() == pytest.approx(
    {'SAC, actor': 0.05, 'SAC, critic': 0.5}
  )
  assert set(data[data.panel == 'SAC, actor'].sparsity) == {0.9}


def test_no_ratios(tmp_path):
  synthetic_runs.write_run(tmp_path / 'r', 'Dense')
  with pytest.raises(figures.NothingToDraw, match='summarize_gradient_snr'):
    figures.draw('graesser22/fig05', analysis.load(tmp_path))
