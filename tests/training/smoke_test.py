"""Smoke runs: every gin file becomes one, and each says that it is one."""

import json
import pathlib
import re

import gin
import pytest

from rigl_rl import analysis
from rigl_rl.commands import command_line, evaluate, export, train
from rigl_rl.config import checking
from rigl_rl.config.gin_text import Config
from rigl_rl.training import curve, progress, record, smoke

_ROOT = pathlib.Path(__file__).parents[2]
_FILES = sorted(
  path.relative_to(_ROOT).as_posix()
  for paper in ('graesser22', 'sokar22')
  for path in (_ROOT / 'gin_configs' / paper).rglob('*.gin')
)
# One per agent.
_QUICK = [
  'gin_configs/graesser22/dqn_classic/rigl.gin',
  'gin_configs/graesser22/ppo_mujoco/rigl.gin',
  'gin_configs/graesser22/sac_mujoco/rigl.gin',
  'gin_configs/sokar22/td3/ds_td3.gin',
]
# Overlays, which need another gin file.
_PARTS = ('as_released', 'as_stable_baselines3')


@pytest.mark.parametrize('file', _FILES)
def test_every_gin_file_becomes_a_short_run(file):
  files = [file]
  config = Config(files)
  if config.value('train.runner') is None:  # An overlay.
    folder = sorted((_ROOT / file).parent.glob('*.gin'))
    whole = next(path for path in folder if path.stem not in _PARTS)
    files = [str(whole), file]
    config = checking.check(files)
  short = checking.check(smoke.add_file(files, config))
  assert short.value('train.smoke') is True
  assert short.value('train.train_steps') <= 4096
  runner = short.value('train.runner').name
  assert short.value(f'{runner}.evaluation_episodes') == 2
  # The same macro for all agents that collect before they train.
  collected = {
    'DopamineRunner': 'SparseDQNAgent.min_replay_history',
    'ActorCriticLoop': 'ActorCriticLoop.initial_collect_steps',
  }
  if runner in collected:
    assert short.value(collected[runner]) == 200
    ours = config.plus(['INITIAL_COLLECT_STEPS = 7'])
    assert ours.value(collected[runner]) == 7


def test_a_runner_of_the_users_own(user_error):
  config = Config.of_text('train.runner = @mine.Loop')
  with user_error('--smoke is given', '@mine.Loop', '@DopamineRunner'):
    smoke.add_file([], config)


@pytest.fixture(name='titles')
def _titles(monkeypatch):
  """The titles of the curves that are drawn."""
  titles, draw = [], curve.draw_curve

  def recorded(history, title, returns):
    titles.append(title)
    return draw(history, title, returns)

  monkeypatch.setattr(curve, 'draw_curve', recorded)
  return titles


@pytest.mark.usefixtures('no_gin_config')
@pytest.mark.parametrize(
  'file',
  [
    *_QUICK,
    *(
      pytest.param(file, marks=pytest.mark.slow)
      for file in _FILES
      if file not in _QUICK and pathlib.Path(file).stem not in _PARTS
    ),
  ],
)
def test_a_smoke_run_says_so_in_each_result(
  file, tmp_path, titles, monkeypatch, capsys
):
  # TensorFlow, which other tests have started, would refuse new threads.
  monkeypatch.setattr(command_line, 'start_tensorflow', lambda arguments: None)
  monkeypatch.setattr(progress, '_LINE_INTERVAL', 0.0)
  run = tmp_path / 'run'
  arguments = [f'--gin_files={file}', f'--base_dir={run}']
  assert train.main([*arguments, '--smoke']) == 0
  out, err = capsys.readouterr()
  assert re.search(r' steps/s, [\d:]+ left, loss [\d.e+-]+\n', err)
  assert out.startswith('Smoke run: ')
  assert 'of a smoke run: it means nothing' in out
  assert record.read(str(run))['smoke'] is True
  assert json.loads((run / 'summary.json').read_text())['smoke'] is True
  (title,) = titles
  assert title.startswith('Smoke run: ')
  (row,) = record.read_evaluations(str(run))
  assert row['episodes'] == 2

  # Tables and figures leave it out.
  results = analysis.load(tmp_path)
  assert not len(results.runs) and not len(results.evaluations)
  assert list(results.problems.reason) == ['a smoke run']
  assert len(analysis.load(tmp_path, smoke=True).runs) == 1

  # What is made of it later says so, too.
  gin.clear_config()
  assert train.main([*arguments, '--smoke']) == 0
  assert f'{run} smoke run is finished' in capsys.readouterr().out
  # A convolutional network has no C header.
  policy = tmp_path / ('policy.npz' if 'atari' in file else 'policy.h')
  assert evaluate.main([f'--run={run}', '--episodes=1']) == 0
  assert export.main([f'--run={run}', f'--out={policy}']) == 0
  out = capsys.readouterr().out
  assert len(re.findall(r'^Smoke run: .* on ', out, re.MULTILINE)) == 2
  if policy.suffix == '.h':
    assert 'Smoke run: ' in policy.read_text()

  # A real run is another one.
  gin.clear_config()
  assert train.main(arguments) == 2
  assert 'holds a run of another config' in capsys.readouterr().err
