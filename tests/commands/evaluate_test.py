"""Tests of the command that evaluates."""

import csv
import shutil

import pytest

from helpers import tiny
from helpers.runs import train
from rigl_rl import errors
from rigl_rl.commands import evaluate

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

_SMALL = (
  'TRAIN_STEPS = 40',
  'SparseDQNAgent.min_replay_history = 20',
  'DopamineRunner.evaluation_period = 20',
)
# Two runs below one directory.
_RUNS = {
  'a/classic': (
    'graesser22/dqn_classic/rigl.gin',
    *tiny.DQN,
    *_SMALL,
    'DopamineRunner.evaluation_episodes = 3',
  ),
  'b/pong': (
    'graesser22/dqn_atari_cnn/rigl.gin',
    *tiny.SHORT_DQN,
    *_SMALL,
    'GAME = "Pong"',
    'WIDTH = 0.1',
    'DopamineRunner.evaluation_steps = 60',
    'DopamineRunner.max_steps_per_episode = 30',
  ),
}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """The directory of both runs."""
  root = tmp_path_factory.mktemp('runs')
  for name, config in _RUNS.items():
    train(root / name, *config)
  return root


def _run(*arguments):
  return evaluate.main([str(argument) for argument in arguments])


def _rows(path):
  with path.open() as file:
    return list(csv.DictReader(file))


def test_levels():
  assert evaluate.parse_levels(None) is None
  assert evaluate.parse_levels('0,1,...,30') == list(range(31))
  assert evaluate.parse_levels('0, 5,…,20 ,2.5') == [0, 5, 10, 15, 20, 2.5]
  assert evaluate.parse_levels('0,.1,...,.3') == [0, 0.1, 0.2, 0.3]
  assert evaluate.parse_levels('7,7') == [7]


@pytest.mark.parametrize(
  'text',
  [
    '',
    'a',
    '-1',
    '0,',
    'nan',
    'inf',
    '...,3',
    '0,...,3',
    '0,1,...',
    '0,0,...,3',
  ]
  + ['0,2,...,5', '0,1,...,-3', '0,1,...,1e9'],
)
def test_no_levels(text):
  with pytest.raises(errors.UserError, match='--observation_noise is'):
    evaluate.parse_levels(text)


def test_a_run(runs, tmp_path, capsys):
  out = tmp_path / 'new' / 'returns.csv'
  directory = runs / 'a' / 'classic'
  assert _run(f'--run={directory}', f'--out={out}') == 0
  printed = capsys.readouterr().out
  first, second, *_ = printed.splitlines()
  assert first.startswith('RigL at 88.4 % sparsity on CartPole-v0: ')
  assert first.endswith(str(directory))
  assert second == 'Checkpoint of step 40'
  rows = _rows(out)
  assert [row['episode'] for row in rows] == ['0', '1', '2']
  mean = sum(float(row['return']) for row in rows) / 3
  (line,) = [x for x in printed.splitlines() if x.lstrip().startswith('–')]
  assert line.split()[1] == f'{mean:.2f}' and line.split()[-1] == '3'
  assert not (directory / 'observation_noise.csv').exists()
  # Other episodes.
  assert _run(f'--run={directory}', '--episodes=5', f'--out={out}') == 0
  assert len(_rows(out)) == 5


def test_noise_on_all_runs_below_a_directory(runs, capsys, monkeypatch):
  kept = runs / 'b' / 'pong' / 'observation_noise.csv'
  command = (f'--run={runs}', '--episodes=2')
  assert _run(*command, '--observation_noise=0,10') == 0
  printed = capsys.readouterr().out
  assert 'Left out: 1 of 2 runs, which show no pixels.' in printed
  first = _rows(kept)
  assert [row['observation_noise'] for row in first] == ['0', '10']
  assert all(row['episodes'] == row['asked_episodes'] == '2' for row in first)
  assert len({row['step'] for row in first}) == 1

  # It continues, and does not play again what is there.
  played = []
  play = evaluate._play

  def count(arguments, runner, level):
    played.append(level)
    return play(arguments, runner, level)

  monkeypatch.setattr(evaluate, '_play', count)
  assert _run(*command, '--observation_noise=0,5,10') == 0
  assert played == [5]
  rows = _rows(kept)
  assert [row['observation_noise'] for row in rows] == ['0', '5', '10']
  assert [rows[0], rows[2]] == first
  capsys.readouterr()
  assert _run(*command, '--observation_noise=5,10') == 0
  assert 'Evaluated at all these levels already.' in capsys.readouterr().out
  # Another seed is another evaluation.
  assert _run(*command, '--observation_noise=10', '--seed=1') == 0
  assert played == [5, 10]
  assert [row['seed'] for row in _rows(kept)] == ['1']
  # What is for a look is not kept.
  text = kept.read_text()
  pong = f'--run={kept.parent}'
  look = ('--episodes=1', '--observation_noise=30')
  wrap = '--gin_bindings=ObservationNoise.wrap=True'
  assert _run(pong, *look, wrap) == 0
  step = first[0]['step']
  assert _run(pong, *look, f'--checkpoint={step}') == 0
  assert played == [5, 10, 30, 30]
  assert kept.read_text() == text


@pytest.mark.parametrize('agent', ['SAC', 'TD3', 'PPO'])
def test_noise_needs_pixels(agent, tmp_path, capsys, monkeypatch):
  described = {'agent': agent, 'network': 'MLP', 'title': 'x', 'task': 'Ant-v4'}
  monkeypatch.setattr(evaluate.record, 'describe', lambda _: described)
  (tmp_path / 'config.gin').touch()
  assert _run(f'--run={tmp_path}', '--observation_noise=5') == 2
  printed = capsys.readouterr()
  assert not printed.out
  (line,) = printed.err.splitlines()
  assert '--observation_noise is 5' in line and 'Ant-v4, shows no pix' in line


def test_the_summary_of_an_earlier_version_may_be_damaged(runs, tmp_path):
  directory = shutil.copytree(runs / 'a' / 'classic', tmp_path / 'run')
  (directory / 'run.json').unlink()
  (directory / 'summary.json').write_text('{"layers')
  assert _run(f'--run={directory}') == 0


def test_a_video(runs, tmp_path, capsys):
  path = tmp_path / 'a.gif'
  assert _run(f'--run={runs / "a" / "classic"}', f'--video={path}') == 0
  assert path.read_bytes().startswith(b'GIF89a')
  assert f'Video: {path}' in capsys.readouterr().out


def test_a_run_that_cannot_be_evaluated_stops_no_other(runs, tmp_path, capsys):
  (tmp_path / 'torn').mkdir()
  (tmp_path / 'torn' / 'config.gin').write_text('train.seed = [')
  (tmp_path / 'whole').symlink_to(runs / 'a' / 'classic')
  assert _run(f'--run={tmp_path}') == 2
  printed = capsys.readouterr()
  assert 'CartPole-v0' in printed.out
  last = printed.err.splitlines()[-1]
  assert last.startswith('error: --run is') and '1 of 2 runs' in last


@pytest.mark.parametrize(
  'flags,parts',
  [
    (['--run=RUNS/none'], ['--run is', 'no such directory']),
    (['--run=RUNS/a/classic/events'], ['--run is', 'no config.gin']),
    (['--run=RUNS', '--checkpoint=20'], ['--checkpoint is 20', '2']),
    (['--run=RUNS', '--video=a.gif'], ["--video is 'a.gif'", '2']),
    (['--run=RUNS/a', '--video=a.avi'], ["--video is 'a.avi'", '.mp4 or .gif']),
    (
      ['--run=RUNS/a', '--video=RUNS/no/a.gif'],
      ['no/a.gif', 'must e'],
    ),
    (
      ['--run=RUNS/b', '--video=a.gif', '--observation_noise=0,1'],
      ["--video is 'a.gif'", 'one --observation_noise'],
    ),
    (['--run=RUNS/a', '--checkpoint=-1'], ['--checkpoint is -1', 'at least 0']),
    (['--run=RUNS/a', '--checkpoint=3'], ['--checkpoint is 3', 'step of one']),
    (['--run=RUNS/a', '--episodes=0'], ['--episodes is 0', 'at least 1']),
    (['--run=RUNS/a', '--seed=-1'], ['--seed is -1', 'at least 0']),
    (['--run=RUNS/a', '--observation_noise=-1'], ['--observation_noise is']),
    (
      ['--run=RUNS/a', '--observation_noise=1'],
      ['--observation_noise is 1', 'no pixels'],
    ),
    (['--run=RUNS/a', '--out=RUNS'], ['--out needs', 'it is a directory']),
    (
      ['--run=RUNS/a', '--out=RUNS/a/classic/config.gin/x.csv'],
      ['--out needs', 'cannot be written'],
    ),
    (['--run=RUNS/a', '--gin_bindings=x'], ["--gin_bindings='x'"]),
    (['--run=RUNS/a', '--gin_bindings=SPRSITY=0.5'], ['mean SPARSITY?']),
    (
      ['--run=RUNS/a', '--gin_bindings=critic/sparsify.storage="masked"'],
      ["critic/sparsify.storage = 'masked' has no effect", "scope 'critic'"],
    ),
  ],
)
def test_a_mistake_is_one_line(flags, parts, runs, capsys):
  flags = [flag.replace('RUNS', str(runs)) for flag in flags]
  assert _run(*flags) == 2
  printed = capsys.readouterr()
  # What is found out after the first line comes before any result.
  assert len(printed.out.splitlines()) <= 1
  (line,) = printed.err.splitlines()
  assert line.startswith('error: ')
  for part in parts:
    assert part in line
