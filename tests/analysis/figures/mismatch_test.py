"""Tests of what figures say of networks that are not quite of their size."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures
from rigl_rl.analysis.figures import mismatch

# Of PPO at 90 %, as its networks are.
_PPO = {
  'HalfCheetah-v4': {'actor': -0.0420, 'value': -0.0367},
  'Ant-v4': {'actor': 0.0076, 'value': -0.0119},
  'Humanoid-v4': {'actor': 0.05571, 'value': 0.04911},
}


@pytest.fixture
def write(tmp_path):
  def write(task, mismatches=None, method='Small dense', agent='PPO', **kwargs):
    synthetic_runs.write_run(
      tmp_path / agent / method / task / str(len(list(tmp_path.rglob('*')))),
      method,
      agent,
      task,
      train_steps=1_000_000,
      mismatches=mismatches,
      **kwargs,
    )

  return write


def _draw(name, directory):
  return figures.draw(
    name, analysis.load(directory), figures.Options(resamples=2)
  )


def test_figure_2(write, tmp_path):
  for task in ('HalfCheetah-v4', 'Humanoid-v4'):
    write(task, _PPO[task])
    write(task, _PPO[task], seed=1)
    write(task, method='RigL')
  drawing = _draw('graesser22/fig02_ppo', tmp_path)
  cells = drawing.data.set_index(['task', 'method']).size_mismatch
  assert cells.to_dict() == {
    ('HalfCheetah-v4', 'Small dense'): 'actor -0.042, value -0.0367',
    ('Humanoid-v4', 'Small dense'): 'actor +0.05571, value +0.04911',
    ('HalfCheetah-v4', 'RigL'): '',
    ('Humanoid-v4', 'RigL'): '',
  }
  note = (
    'Dense networks more than 1 % off their target size: '
    'at 90 % sparsity PPO actor up to +5.6 % (Humanoid-v4), PPO value up to '
    '+4.9 % (Humanoid-v4).'
  )
  assert drawing.notes[-2] == note
  face = ' '.join(drawing.figure._suptitle.get_text().split())
  assert note in face


def test_up_to_1_percent_only_the_csv_tells(write, tmp_path):
  write('CartPole-v0', {'online': 0.01}, agent='DQN')
  drawing = _draw('graesser22/fig08', tmp_path)
  assert set(drawing.data.size_mismatch) == {'online +0.01'}
  assert not any('off their target size' in note for note in drawing.notes)


def test_figure_3_of_a_budget(write, tmp_path):
  write(
    'Walker2d-v4',
    {'actor': -0.0049, 'critic_1': -0.0297, 'critic_2': -0.0297},
    method='Dense',
    agent='SAC',
    more={
      'Budget.total': 0.1,
      'Budget.actor_share': 0.9,
      'WIDTH': '@budget_width',
    },
  )
  drawing = _draw('graesser22/fig03', tmp_path)
  (cell,) = drawing.data.size_mismatch
  assert cell == 'actor -0.0049, critic_1 -0.0297, critic_2 -0.0297'
  assert drawing.notes[-2] == (
    'Dense networks more than 1 % off their target size: '
    'at 10 % budget SAC critic up to −3.0 % (Walker2d-v4).'
  )


def test_a_point_of_several_tasks_names_them(write, tmp_path):
  for task, mismatches in _PPO.items():
    write(task, method='Dense', agent='SAC')
    write(task, mismatches)
  drawing = _draw('graesser22/fig16', tmp_path)
  cells = drawing.data.set_index('method').size_mismatch
  assert cells['Small dense'] == (
    'Ant-v4 actor +0.0076, value -0.0119; HalfCheetah-v4 actor -0.042, value '
    '-0.0367; Humanoid-v4 actor +0.05571, value +0.04911'
  )
  assert 'PPO actor up to +5.6 % (Humanoid-v4)' in drawing.notes[-2]


def test_each_size_has_its_largest(write, tmp_path):
  """Below 0 as above it; the first of tasks whose networks are equal."""
  for task in ('Walker2d-v4', 'HalfCheetah-v4'):
    write(task, _PPO['HalfCheetah-v4'])
  write('Ant-v4', _PPO['Ant-v4'])
  write('Ant-v4', {'actor': 0.0665, 'value': 0.001}, sparsity=0.95)
  (note,) = mismatch.note(analysis.load(tmp_path).runs)
  assert note.partition(': ')[2] == (
    'at 90 % sparsity PPO value up to −3.7 % (HalfCheetah-v4), PPO actor up to '
    '−4.2 % (HalfCheetah-v4); at 95 % sparsity PPO actor up to +6.7 % (Ant-v4).'
  )
