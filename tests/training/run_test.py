"""Tests of what surrounds a run, with a runner that trains nothing."""

import json
import os

import gin
import pytest
import tensorflow as tf

from rigl_rl import errors
from rigl_rl.training import curve, provenance, record, run, run_directory

# From its third evaluation on, none is left out.
_RETURNS = [float(i) for i in range(20)]


class _Runner:
  """Stands in for what trains; writes the evaluations and no more."""

  title = 'Nothing at 50 % sparsity'
  built = 0

  def __init__(self, directory, seed, train_steps, fail=False):
    type(self).built += 1
    self._directory = directory
    self._arguments = {'got_seed': seed, 'got_train_steps': train_steps}
    self._fail = fail

  def run_experiment(self):
    if self._fail:
      raise errors.UserError('The loss is nan.')
    for number, value in enumerate(_RETURNS, start=1):
      self._directory.append_evaluation(10 * number, value, 0.0, 2)
    self._directory.append_timing(200, 12.5, 16.0)

  def describe(self):
    return {'parameters': 7, **self._arguments}


@pytest.fixture(autouse=True)
def config():
  gin.clear_config()
  gin.parse_config('train.seed = 4\ntrain.task = "Nowhere-v0"')
  _Runner.built = 0
  yield
  gin.clear_config()


def _train(base_dir, runner=_Runner, seed=4, train_steps=200):
  return run.train(
    str(base_dir),
    runner=runner,
    seed=seed,
    train_steps=train_steps,
    task='Nowhere-v0',
  )


def test_summary_and_files(tmp_path, capsys):
  summary = _train(tmp_path)
  written = json.loads((tmp_path / 'summary.json').read_text())
  assert written['finished'] is True
  # The last 2 of 20 evaluations.
  assert written['final_score'] == summary['final_score'] == 18.5
  assert written['final_score_of'] == 'last 10 %'
  assert written['learning_curve_area'] == 9.5
  assert written['learning_curve_area_per_step'] == 190 / 200
  assert written['steps'] == 200
  assert written['seconds'] == 12.5
  assert written['parameters'] == 7
  assert written['got_seed'] == 4 and written['got_train_steps'] == 200
  # run.json says what the run is.
  assert not {'seed', 'task', 'versions', 'git_revision'} & set(written)
  assert (tmp_path / 'curve.png').read_bytes() == curve.draw_curve(
    record.read_evaluations(str(tmp_path)), f'{_Runner.title} on Nowhere-v0'
  )
  assert 'train.seed = 4' in (tmp_path / 'config.gin').read_text()
  assert (tmp_path / 'operative_config.gin').exists()
  out = capsys.readouterr().out
  assert out.startswith('Nothing at 50 % sparsity\n')
  assert 'Final score 18.5 (last 10 %)' in out
  assert f'{tmp_path}/curve.png' in out and f'{tmp_path}/summary.json' in out


def test_the_run_describes_itself_before_it_trains(tmp_path):
  gin.parse_config('train.paper = "sokar22"')
  found = []

  class Runner(_Runner):
    def run_experiment(self):
      found.append((tmp_path / 'run.json').read_bytes())
      super().run_experiment()

  _train(tmp_path, runner=Runner)
  assert found == [(tmp_path / 'run.json').read_bytes()]
  described = record.read(str(tmp_path))
  assert (described['task'], described['seed']) == ('Nowhere-v0', 4)
  assert described['train_steps'] == 200 and described['paper'] == 'sokar22'
  assert described['title'] == Runner.title and described['parameters'] == 7
  (made,) = described['made_with']
  assert made['step'] == 0 and made['processor']
  assert made['versions']['tensorflow'] == tf.__version__
  assert 'git_revision' in made
  # Strict JSON, in which there is no NaN.
  json.loads(found[0], parse_constant=lambda name: pytest.fail(name))


def _stop_at_100(directory, seed, train_steps):
  """A run that is killed after its checkpoint of step 100."""
  rows = [
    {'step': step, 'return_mean': 0.0, 'return_std': 0.0, 'episodes': 1}
    for step in (100, 200)
  ]

  class Runner(_Runner):
    def run_experiment(self):
      for row in rows[len(self._directory.evaluations) :]:
        self._directory.append_evaluation(**row)
        if row['step'] == 100:
          raise errors.UserError('killed')

  if os.path.exists(directory.path('evaluations.csv')):
    directory.set_state({'evaluations': rows[:1]})
  return Runner(directory, seed, train_steps)


def _continue(tmp_path):
  with pytest.raises(errors.UserError, match='killed'):
    _train(tmp_path, runner=_stop_at_100)
  before = (tmp_path / 'run.json').read_bytes()
  _train(tmp_path, runner=_stop_at_100)
  return before, (tmp_path / 'run.json').read_bytes()


def test_the_description_stays_as_the_run_continues(tmp_path, capsys):
  before, after = _continue(tmp_path)
  assert after == before
  assert 'note:' not in capsys.readouterr().err


def test_a_run_that_continues_elsewhere_says_so(tmp_path, monkeypatch, capsys):
  made = [
    {'git_revision': 'abc', 'processor': 'A', 'versions': {'numpy': '2.0'}},
    {'git_revision': 'abd', 'processor': 'A', 'versions': {'numpy': '2.1'}},
  ]
  collected = iter(made)
  monkeypatch.setattr(provenance, 'collect', lambda: next(collected))
  before, after = map(json.loads, _continue(tmp_path))
  assert before.pop('made_with') == [{'step': 0, **made[0]}]
  assert after.pop('made_with') == [
    {'step': 0, **made[0]},
    {'step': 100, **made[1]},
  ]
  assert after == before
  err = capsys.readouterr().err
  assert err.startswith(
    'note: git revision was abc, is abd, numpy was 2.0, is 2.1: the results '
  )
  assert err.count('\n') == 1


def test_a_damaged_description_is_written_again(tmp_path, caplog):
  with pytest.raises(errors.UserError, match='killed'):
    _train(tmp_path, runner=_stop_at_100)
  (tmp_path / 'run.json').write_text('{"seed": 4')
  _train(tmp_path, runner=_stop_at_100)
  (made,) = record.read(str(tmp_path))['made_with']
  assert made['step'] == 100  # Of what came before nothing is known.
  (message,) = [each.getMessage() for each in caplog.records]
  assert 'run.json' in message and '\n' not in message


def test_final_score_by_its_binding(tmp_path, capsys):
  gin.parse_config('final_score.last = 10')
  summary = _train(tmp_path)
  assert summary['final_score'] == 14.5
  assert summary['final_score_of'] == 'last 10 evaluations'
  assert 'Final score 14.5 (last 10 evaluations)' in capsys.readouterr().out
  assert 'final_score.last = 10' in (tmp_path / 'config.gin').read_text()


@pytest.mark.parametrize('value', [0, 1.5, '"all"'])
def test_bad_final_score_is_refused_before_training(tmp_path, value):
  gin.parse_config(f'final_score.last = {value}')
  with pytest.raises(errors.UserError, match='^final_score.last is '):
    _train(tmp_path)
  assert _Runner.built == 0
  assert not list(tmp_path.iterdir())


def test_learning_curve_area_in_the_units_of_the_paper(tmp_path):
  """Table 2's 1.7686 is a mean return of 8,843, one each 5,000 steps."""

  class Runner(_Runner):
    def run_experiment(self):
      for number in range(1, 201):
        self._directory.append_evaluation(5000 * number, 8843.0, 0.0, 10)

  summary = _train(tmp_path, runner=Runner, train_steps=1_000_000)
  assert summary['learning_curve_area'] == 8843.0
  assert summary['learning_curve_area_per_step'] == pytest.approx(1.7686)


def test_finished_run_does_nothing(tmp_path, capsys):
  summary = _train(tmp_path)
  before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
  capsys.readouterr()
  assert _train(tmp_path) == json.loads(before['summary.json'])
  assert _Runner.built == 1
  assert 'is finished: final score 18.5' in capsys.readouterr().out
  after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
  assert after == before
  assert summary['finished']


def test_another_config_is_refused_by_name(tmp_path):
  _train(tmp_path)
  gin.bind_parameter('train.seed', 5)
  with pytest.raises(errors.UserError) as error:
    _train(tmp_path, seed=5)
  assert 'train.seed is 5 here, 4 in the existing run' in str(error.value)
  assert _Runner.built == 1


def test_mistake_while_building_leaves_no_config(tmp_path):
  def broken(directory, seed, train_steps):
    raise errors.UserError('SPARSITY is 2')

  with pytest.raises(errors.UserError):
    _train(tmp_path, runner=broken)
  assert not list(tmp_path.iterdir())
  # Corrected, and with another config, it starts.
  gin.bind_parameter('train.task', 'Elsewhere')
  _train(tmp_path)


def test_config_is_written_before_training(tmp_path):
  def failing(directory, seed, train_steps):
    return _Runner(directory, seed, train_steps, fail=True)

  with pytest.raises(errors.UserError):
    _train(tmp_path, runner=failing)
  assert (tmp_path / 'config.gin').exists()
  assert not (tmp_path / 'summary.json').exists()
  assert not run_directory.RunDirectory(str(tmp_path)).finished


@pytest.mark.parametrize('value', [0, -5, 10.5, '100', True, None])
def test_train_steps(tmp_path, value):
  with pytest.raises(errors.UserError, match='TRAIN_STEPS'):
    _train(tmp_path, train_steps=value)
  assert _Runner.built == 0


@pytest.mark.parametrize('value', [-1, 1.0, 'x', None])
def test_seed(tmp_path, value):
  with pytest.raises(errors.UserError, match='SEED'):
    _train(tmp_path, seed=value)
  assert _Runner.built == 0
