"""Every example runs as it stands, and prints what it promises."""

import pathlib
import re
import runpy
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = {path.stem: path for path in (ROOT / 'examples').glob('*.py')}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, no_gin_config):
  """Runs an example in another directory; returns what it printed."""

  def run_example(name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(EXAMPLES[name])])
    runpy.run_path(str(EXAMPLES[name]), run_name='__main__')
    assert not list(tmp_path.iterdir()), 'an example leaves nothing behind'
    return capsys.readouterr().out

  return run_example


def _shares(text, of='are zero'):
  """Returns the shares that lines give, as '90.0% of 256 weights are zero'."""
  return [float(x) for x in re.findall(rf'([\d.]+)% of .* {of}', text)]


def test_keras_plain_loop(run):
  text = run('keras_plain_loop')
  assert _shares(text) == [90.0]
  (accuracy,) = re.findall(r'accuracy ([\d.]+)%', text)
  assert float(accuracy) > 95


def test_keras_fit(run):
  text = run('keras_fit')
  assert _shares(text) == [90.0, 90.0]
  assert 'predict the same: True' in text


@pytest.mark.slow
def test_tf_agents_sac(run):
  text = run('tf_agents_sac')
  assert 'step 300: loss' in text
  assert _shares(text) == [90.0, 90.0]


@pytest.mark.slow
def test_dopamine_dqn(run):
  text = run('dopamine_dqn')
  steps = int(re.search(r'([\d,]+) gradient steps', text)[1].replace(',', ''))
  assert steps > 1500
  assert _shares(text) == [90.0]


@pytest.mark.slow
def test_train_and_load(run):
  text = run('train_and_load')
  assert 'RigL at 95 % sparsity' in text
  assert 'by the checkpoint of step 2,000' in text
  assert re.search(r'five actions: \[[01]( [01]){4}\]', text)
  assert _shares(text) == pytest.approx([95] * 3, abs=1)


def test_every_example_is_tested():
  tests = {name.removeprefix('test_') for name in globals()}
  assert EXAMPLES and set(EXAMPLES) <= tests
