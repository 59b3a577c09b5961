"""Every example runs as it stands, and prints what it promises."""

import os
import pathlib
import re
import runpy
import subprocess
import sys

import nbclient
import nbformat
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


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(EXAMPLES))
def test_a_process_of_its_own_can_import_it(name):
  """Without this process's choice of Keras."""
  environment = dict(os.environ)
  environment.pop('TF_USE_LEGACY_KERAS', None)
  path = str(EXAMPLES[name])
  code = f'import runpy; runpy.run_path({path!r}, run_name="example")'
  subprocess.run([sys.executable, '-c', code], env=environment, check=True)


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
  assert _shares(text) == [90.0] * 4  # Before and after loading.
  assert 'predicts the same: True' in text


@pytest.mark.slow
def test_tf_agents_sac(run):
  text = run('tf_agents_sac')
  assert 'step 300: loss' in text
  assert _shares(text) == [90.0] * 3


@pytest.mark.slow
def test_dopamine_dqn(run):
  text = run('dopamine_dqn')
  assert re.search(r'^ *2000 ', text, re.MULTILINE)
  assert re.search('method +RigL', text)
  assert _shares(text) == pytest.approx([90] * 3, abs=2)


@pytest.mark.slow
def test_train_and_load(run):
  text = run('train_and_load')
  assert 'RigL at 95 % sparsity' in text
  assert 'by the checkpoint of step 2,000' in text
  assert re.search(r'five actions: \[[01]( [01]){4}\]', text)
  assert _shares(text) == pytest.approx([95] * 3, abs=1)


@pytest.mark.slow
def test_own_algorithm(run):
  text = run('own_algorithm')
  assert re.findall(r'^(\w*RigL)$', text, re.MULTILINE) == [
    'RigL',
    'SaliencyRigL',
  ]
  first, second = _shares(text)
  assert first == second
  (shared,) = re.findall(r'(\d+)% of the active weights', text)
  assert int(shared) < 100, 'they drop other weights'


@pytest.mark.slow
def test_own_environment(run):
  text = run('own_environment')
  first, *_, last = map(float, re.findall(r'^ *\d+ +(-[\d.]+)', text, re.M))
  assert last > first / 2, 'it learns'
  (position,) = re.findall(r'comes to rest at (-?[\d.]+)', text)
  assert abs(float(position)) < 0.3


@pytest.mark.slow
def test_sweep_and_plot(run):
  text = run('sweep_and_plot')
  assert re.search(r'RigL +0\.9 .* 2\n', text)
  assert re.search(r'Static +0\.9 .* 2\n', text)
  assert 'plotted 4 runs' in text


@pytest.mark.slow
def test_notebook(tmp_path, monkeypatch):
  path = ROOT / 'examples' / 'first_run.ipynb'
  notebook = nbformat.read(path, as_version=4)
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  # tests/conftest.py sets it, and a notebook draws by a backend of its own.
  monkeypatch.delenv('MPLBACKEND', raising=False)
  client = nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(tmp_path)}}
  )
  client.execute()
  kinds = [
    kind
    for cell in notebook.cells
    for output in cell.get('outputs', ())
    for kind in output.get('data', ())
  ]
  assert kinds.count('image/png') == 2


def test_every_example_is_tested():
  tests = {name.removeprefix('test_') for name in globals()}
  assert EXAMPLES and set(EXAMPLES) <= tests
