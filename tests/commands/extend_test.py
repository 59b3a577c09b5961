"""A finished run continues to a higher TRAIN_STEPS."""

import gin
import pytest

from helpers import command, runs, tiny
from rigl_rl.training import (
  actor_critic_loop,
  dopamine_runner,
  extension,
  ppo_loop,
  record,
  run_directory,
)

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

_DQN = (
  'gin_configs/graesser22/dqn_classic/rigl.gin',
  *tiny.DQN,
  'UpdateSchedule.interval = 10',
  'DopamineRunner.evaluation_period = 80',
)
_SAC = (
  'gin_configs/graesser22/sac_mujoco/rigl.gin',
  *tiny.SAC,
  'ActorCriticLoop.initial_collect_steps = 50',
  'ActorCriticLoop.evaluation_period = 80',
)
_PPO = (
  'gin_configs/graesser22/ppo_mujoco/rigl.gin',
  *tiny.PPO,
  'PPOLoop.evaluation_period = 2',
)


def _train(base_dir, config, steps, *flags):
  file, *bindings = config
  bindings += [f'TRAIN_STEPS = {steps}']
  return command.run(
    base_dir, *bindings, gin_files=(file,), small=False, flags=flags
  )


@pytest.fixture(name='schedules')
def _schedules(monkeypatch):
  """The last step of the window of mask updates, of each run that is built."""
  ends = []
  for runner, optimizer in (
    (dopamine_runner.DopamineRunner, lambda agent: agent.optimizer),
    (
      actor_critic_loop.ActorCriticLoop,
      lambda agent: agent.networks.optimizer_of('actor'),
    ),
    (ppo_loop.PPOLoop, lambda agent: agent.networks.optimizer_of('actor')),
  ):

    def recorded(self, *args, init=runner.__init__, of=optimizer, **keywords):
      init(self, *args, **keywords)
      ends.append(of(self.agent).mask_updater.schedule.end_step)

    monkeypatch.setattr(runner, '__init__', recorded)
  return ends


@pytest.mark.parametrize(
  'config, choice, steps, window',
  [
    (_DQN, 'stay', [200, 300], (119, 119)),
    (_SAC, 'stay', [80, 160, 200, 240, 300], (120, 120)),
    (_SAC, 'stretch', [80, 160, 200, 240, 300], (120, 200)),
    (_PPO, 'stretch', [64, 128, 192, 224, 256, 320], (45, 64)),
  ],
)
def test_an_extended_run(
  tmp_path, config, choice, steps, window, schedules, monkeypatch, capsys
):
  for name in ('whole', 'cut'):
    assert _train(tmp_path / name, config, 200) == 0
  before = runs.evaluations(tmp_path / 'whole')
  assert _train(tmp_path / 'whole', config, 300) == 2
  assert capsys.readouterr().err.endswith('another --base_dir, or --extend\n')

  flag = f'--extend={choice}'
  assert _train(tmp_path / 'whole', config, 300, flag) == 0
  assert runs.evaluations(tmp_path / 'whole').startswith(before)
  assert [s for s in runs.steps(tmp_path / 'whole') if s in steps] == steps
  found = record.read(str(tmp_path / 'whole'))
  assert found['train_steps'] == 300
  assert found['bindings']['train.extended'] == f"((200, '{choice}'),)"
  summary = run_directory.RunDirectory(str(tmp_path / 'whole')).read_summary()
  assert summary['steps'] == runs.steps(tmp_path / 'whole')[-1] >= 300
  assert (schedules[0], schedules[-1]) == window

  # Killed and continued, with or without the flag, it is the same.
  with monkeypatch.context() as patch:
    runs.interrupt_from(patch, 240)
    assert _train(tmp_path / 'cut', config, 300, flag) == 130
    assert not run_directory.RunDirectory(str(tmp_path / 'cut')).finished
  assert _train(tmp_path / 'cut', config, 300) == 0
  cut, whole = (runs.evaluations(tmp_path / name) for name in ('cut', 'whole'))
  assert cut == whole
  capsys.readouterr()
  assert _train(tmp_path / 'cut', config, 300, flag) == 0
  assert 'Nothing to do' in capsys.readouterr().out


def test_what_cannot_be_extended(tmp_path, monkeypatch, capsys):
  # A run that is not finished.
  with monkeypatch.context() as patch:
    runs.interrupt_from(patch, 80)
    assert _train(tmp_path / 'cut', _SAC, 200) == 130
  capsys.readouterr()
  assert _train(tmp_path / 'cut', _SAC, 300, '--extend=stay') == 2
  error = capsys.readouterr().err
  assert 'must first be finished, with TRAIN_STEPS = 200' in error
  assert error.count('\n') == 1

  gin.constant('own.LENGTH', 300)
  assert _train(tmp_path / 'cut', _SAC, '%own.LENGTH', '--extend=stay') == 2
  error = capsys.readouterr().err
  assert 'must be a number with --extend' in error and error.count('\n') == 1

  # A decay that has ended, and weights that are pruned.
  ppo = ('gin_configs/graesser22/ppo_mujoco/prune.gin', *_PPO[1:])
  assert _train(tmp_path / 'ppo', ppo, 100) == 0
  before = {
    path: path.read_bytes()
    for path in (tmp_path / 'ppo').rglob('*')
    if path.is_file()
  }
  for choice, reason in (
    ('stay', 'SparsePPOAgent.decay_learning_rate'),
    ('stretch', "must be 'stay' for Prune"),
  ):
    capsys.readouterr()
    assert _train(tmp_path / 'ppo', ppo, 200, f'--extend={choice}') == 2
    error = capsys.readouterr().err
    assert reason in error and error.count('\n') == 1
  after = {path: path.read_bytes() for path in before}
  assert after == before


def test_lengths():
  assert extension.lengths((), 5) == ([5], 5)
  assert extension.lengths(((5, 'stay'),), 8) == ([5, 8], 5)
  assert extension.lengths(((5, 'stretch'),), 8) == ([5, 8], 8)
  both = ((5, 'stretch'), (8, 'stay'))
  assert extension.lengths(both, 9) == ([5, 8, 9], 8)
