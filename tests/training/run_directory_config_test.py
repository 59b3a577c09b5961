"""A second start in a run directory: which configs it takes."""

import os
import pathlib

import pytest

from helpers.run_directories import CONFIG
from rigl_rl.errors import UserError
from rigl_rl.training import run_directory


def conflict(base_dir, differences):
  return (
    f'--base_dir is {str(base_dir)!r}, which holds a run of another config: '
    f'{differences}; give another --base_dir'
  )


def test_new_run_writes_its_config(tmp_path):
  base_dir = tmp_path / 'a' / 'b' / 'run'
  assert not run_directory.RunDirectory(str(base_dir)).prepare(CONFIG)
  assert (base_dir / 'config.gin').read_text() == CONFIG
  assert os.listdir(base_dir) == ['config.gin']


def test_same_config_resumes_and_is_left_alone(tmp_path):
  path = tmp_path / 'config.gin'
  path.write_text('A = 1\n')
  assert run_directory.RunDirectory(str(tmp_path)).prepare('# again\nA = 1')
  assert path.read_text() == 'A = 1\n'


def test_different_binding_is_refused_by_name(run):
  base_dir = run.path()
  changed = CONFIG.replace('drop_fraction = 0.3', 'drop_fraction = 0.5')
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(base_dir).prepare(changed)
  assert str(error.value) == conflict(
    base_dir,
    'RigL.drop_fraction is 0.5 here, 0.3 in the existing run',
  )
  # What was there is untouched.
  assert pathlib.Path(run.path('config.gin')).read_text() == CONFIG


def test_several_differences_macros_first(run):
  base_dir = run.path()
  changed = CONFIG.replace('SEED = 3', "SEED = 4\nNEW = 'x\\ny'").replace(
    'Agent.algorithm = @RigL()\n', ''
  )
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(base_dir).prepare(changed)
  assert str(error.value) == conflict(
    base_dir,
    "NEW is 'x\\ny' here, not set in the existing run; "
    'SEED is 4 here, 3 in the existing run; '
    'Agent.algorithm is not set here, @RigL() in the existing run',
  )


def test_the_paper_may_differ(run):
  """Runs of an earlier version do not say."""
  again = run_directory.RunDirectory(run.path())
  assert again.prepare(CONFIG + "train.paper = 'sokar22'\n")
  assert pathlib.Path(run.path('config.gin')).read_text() == CONFIG


def test_other_macros_for_the_same_values_are_the_same_config(tmp_path):
  """As a later version of a gin file may have them."""
  run = run_directory.RunDirectory(str(tmp_path))
  run.prepare('Agent.steps = 5\n')
  assert run.prepare('STEPS = 5\nAgent.steps = %STEPS\n')
  with pytest.raises(UserError, match='Agent.steps is %STEPS here, 5 in the'):
    run.prepare('STEPS = 6\nAgent.steps = %STEPS\n')


def test_a_longer_run_is_refused_with_advice(tmp_path):
  run = run_directory.RunDirectory(str(tmp_path))
  run.prepare('train.train_steps = 5\ntrain.seed = 0\n')
  for steps, seed, end in (
    (6, 0, 'give another --base_dir, or --extend'),
    (4, 0, 'give another --base_dir'),
    (6, 1, 'give another --base_dir'),
  ):
    with pytest.raises(UserError) as error:
      run.prepare(f'train.train_steps = {steps}\ntrain.seed = {seed}\n')
    assert str(error.value).endswith(end)


def test_only_the_length_is_named_where_only_it_differs(tmp_path):
  run = run_directory.RunDirectory(str(tmp_path))
  run.prepare('train.train_steps = %TRAIN_STEPS\nTRAIN_STEPS = 5\na.b = 1\n')
  with pytest.raises(UserError) as error:
    run.prepare(
      'train.train_steps = %TRAIN_STEPS\nTRAIN_STEPS = 6\na.b = %B\nB = 1\n'
    )
  assert (
    str(error.value)
    == conflict(tmp_path, 'TRAIN_STEPS is 6 here, 5 in the existing run')
    + ', or --extend'
  )
  # By a macro of another name.
  run = run_directory.RunDirectory(str(tmp_path / 'other'))
  run.prepare('train.train_steps = %N\nN = 5\n')
  with pytest.raises(UserError, match='N is 6 here, 5 in .* or --extend'):
    run.prepare('train.train_steps = %N\nN = 6\n')


@pytest.mark.parametrize(
  'count, end',
  [
    (5, 'E.x is 1 here, 0 in the existing run; give another --base_dir'),
    (
      6,
      'E.x is 1 here, 0 in the existing run; … and 1 more; give another '
      '--base_dir',
    ),
    (
      9,
      'E.x is 1 here, 0 in the existing run; … and 4 more; give another '
      '--base_dir',
    ),
  ],
)
def test_at_most_five_differences_are_named(tmp_path, count, end):
  names = 'ABCDEFGHI'[:count]
  run = run_directory.RunDirectory(str(tmp_path))
  run.prepare(''.join(f'{name}.x = 0\n' for name in names))
  with pytest.raises(UserError) as error:
    run.prepare(''.join(f'{name}.x = 1\n' for name in names))
  assert str(error.value).endswith(end)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'broken',
  ['A = [1,', 'A ==', 'A = \x00', '\xff = 1', "A = '''", 'include "b.gin"'],
)
def test_broken_existing_config_is_refused(tmp_path, broken):
  (tmp_path / 'config.gin').write_text(broken, encoding='latin-1')
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(str(tmp_path)).prepare(CONFIG)
  assert str(error.value) == (
    f'--base_dir is {str(tmp_path)!r}, whose config.gin cannot be read; '
    'give another --base_dir'
  )
