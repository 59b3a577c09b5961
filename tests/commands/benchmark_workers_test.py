"""What the benchmark's workers run: agents, layers, and the peers' Python."""

import argparse
import io
import os
import subprocess
import sys
import types
from importlib import metadata

import gin
import pytest
import tensorflow as tf

from rigl_rl.benchmarks import benchmark as benchmark_lib
from rigl_rl.benchmarks import layers
from rigl_rl.commands import benchmark
from rigl_rl.config import parsing
from rigl_rl.errors import UserError
from rigl_rl.sparsity import wrappers


def test_worker_trains_what_each_line_says(monkeypatch, capsys):
  asked, made = [], []

  def make(contender, arguments):
    made.append((contender, arguments.task))

    def train(steps):
      asked.append(steps)
      return steps + 3  # Whole episodes: a little more.

    return train

  monkeypatch.setattr(
    benchmark.command_line, 'start_tensorflow', lambda arguments: None
  )
  kind = type(benchmark.BENCHMARKS['dqn'])
  monkeypatch.setattr(kind, 'make', lambda self, *given: make(*given))
  monkeypatch.setattr(sys, 'stdin', io.StringIO('10\n20\n'))
  code = benchmark.main(['dqn', '--task=Acrobot-v1', '--worker=dense'])
  assert code == 0
  assert made == [('dense', 'Acrobot-v1')] and asked == [10, 20]
  turns = [line.split() for line in capsys.readouterr().out.splitlines()]
  assert [turn[:2] for turn in turns] == [['turn', '13'], ['turn', '23']]
  assert all(float(turn[2]) >= 0 for turn in turns)


class _Process:
  """A child that answers each line of its stdin with `answers`."""

  def __init__(self, answers):
    self.stdin = types.SimpleNamespace(
      write=lambda text: self.written.append(text),
      flush=lambda: None,
      close=lambda: None,
    )
    self.stdout = iter(answers)
    self.written = []

  def wait(self):
    return 7


def test_rate_is_steps_by_seconds(monkeypatch):
  process = _Process(['noise of a library\n', 'turn 100 0.5\n'])
  commands = []

  def popen(command, **kwargs):
    commands.append(command)
    return process

  monkeypatch.setattr(benchmark.subprocess, 'Popen', popen)
  worker = benchmark._Worker('rigl', ['python', '--worker=rigl'])
  assert worker.train(90) == 200.0
  assert process.written == ['90\n']
  assert commands == [['python', '--worker=rigl']]


@pytest.mark.parametrize(
  'agent,contender',
  [
    ('sac', 'dense'),
    ('sac', 'rigl'),
    ('ppo', 'dense'),
    ('ppo', 'rigl'),
    ('td3', 'td3'),
    ('td3', 'ds_td3'),
  ],
)
def test_gin_file_of_a_contender(agent, contender, monkeypatch):
  subject = benchmark.BENCHMARKS[agent]
  parsed = []

  def make_run(gin_file, bindings):
    # Refuses a file, binding or macro that is not there.
    parsing.parse([gin_file], bindings)
    parsed.append(gin_file)

  monkeypatch.setattr(benchmark_lib, 'make_run', make_run)
  parser = argparse.ArgumentParser()
  subject.add_arguments(parser)
  gin.clear_config()
  try:
    subject.make(contender, parser.parse_args([]))
    initial = gin.get_bindings('ActorCriticLoop').get('initial_collect_steps')
    decays = [
      gin.get_bindings(name).get('weight_decay', 0.0)
      for name in ('adam', 'Critic')
    ]
  finally:
    gin.clear_config()
  assert parsed[0].endswith(f'/{contender}.gin')
  if agent != 'ppo':
    # As the peers have it.
    assert initial == 500
    assert decays == [0.0, 0.0]


def test_worker_that_dies_is_reported(monkeypatch, capsys):
  monkeypatch.setattr(benchmark.machine, 'peak', lambda: 1e9)
  monkeypatch.setattr(
    benchmark.subprocess, 'Popen', lambda *args, **kwargs: _Process([])
  )
  assert benchmark.main(['dqn', '--contenders=rigl']) == 2
  assert capsys.readouterr().err.endswith('\nerror: rigl ended with code 7.\n')


def test_worker_that_has_died_before_its_turn_is_reported():
  code = 'import sys; sys.stdin.close(); print("gone", flush=True); sys.exit(7)'
  worker = benchmark._Worker('rigl', [sys.executable, '-c', code])
  worker._process.wait()
  with pytest.raises(UserError, match='rigl ended with code 7'):
    worker.train(10)
  worker.close()


def test_a_python_of_peers_that_is_not_there(tmp_path, capsys):
  python = str(tmp_path / 'none')
  flags = [f'--peers_python={python}', '--contenders=sb3']
  assert benchmark.main(['sac', *flags]) == 2
  started, error = capsys.readouterr().err.splitlines()
  assert started == 'Starting sb3'
  assert error.startswith(f'error: --peers_python is {python!r}, which cannot')


def test_peers_find_libraries_before_modules_of_the_benchmarks(tmp_path):
  (tmp_path / 'stable_baselines3.py').write_text(
    'import mujoco\nraise SystemExit(mujoco.__version__)\n'
  )
  flags = ['--library=sb3', '--agent=sac', '--task=HalfCheetah-v4']
  result = subprocess.run(
    [sys.executable, benchmark._PEERS, *flags],
    env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    capture_output=True,
    text=True,
    stdin=subprocess.DEVNULL,
  )
  assert result.stderr.splitlines()[-1] == metadata.version('mujoco')


def _layer_arguments(*flags):
  parser = argparse.ArgumentParser()
  layers.Layers().add_arguments(parser)
  return parser.parse_args(flags)


@pytest.mark.parametrize('contender', ['dense', 'sparse_80'])
def test_steps_of_a_layer(contender, request, monkeypatch):
  if contender != 'dense':
    request.getfixturevalue('operations')
  calls = []
  call = wrappers.SparseWrapper.call

  def counted(layer, x):
    calls.append((layer.storage.name == 'sparse', tuple(x.shape)))
    y = call(layer, x)
    # Counted when it runs, not when it is traced.
    with tf.control_dependencies([ran.assign_add(1)]):
      return tf.identity(y)

  ran = tf.Variable(0)
  monkeypatch.setattr(wrappers.SparseWrapper, 'call', counted)
  train = layers.Layers().make(contender, _layer_arguments('--shape=7,5,3'))
  train(1)
  assert [train(3), train(2)] == [3, 2]
  assert int(ran) == 1 + 3 + 2
  assert set(calls) == {(contender != 'dense', (3, 7))}


def test_layers_without_kernels(monkeypatch):
  monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  with pytest.raises(UserError, match='names sparse_80, which needs'):
    layers.Layers().make('sparse_80', _layer_arguments())


@pytest.mark.parametrize('shape', ['', '3,4', '3,4,x', '3,0,5', '1,2,3,4'])
def test_text_that_is_not_a_shape(shape, user_error):
  with user_error(f'--shape is {shape!r}, but must be', '3: inputs, outputs'):
    layers.Layers().make('dense', _layer_arguments(f'--shape={shape}'))


@pytest.mark.parametrize(
  'contender,expected',
  [('dense', ('dense', None)), ('sparse_95', ('sparse', 0.95))],
)
def test_names_of_contenders(contender, expected):
  assert benchmark_lib.parse_contender(contender) == expected
