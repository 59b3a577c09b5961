"""What a run directory holds, and when a second start is refused."""

import errno
import json
import math
import os
import pathlib
import stat

import numpy as np
import pytest

from rigl_rl import files
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing, record, run_directory

CONFIG = """
import rigl_rl.agents.dqn

# Macros:
SEED = 3
SPARSITY = 0.9
ENV_NAME = 'CartPole-v0'

RigL.drop_fraction = 0.3
RigL.window = (0.0, 0.8)
online/MLP.widths = [512, 512]
Agent.algorithm = @RigL()
Agent.sparsity = %SPARSITY
Agent.custom = {'a': 1, 'b': None}
"""


def conflict(base_dir, differences):
  return (
    f'--base_dir is {str(base_dir)!r}, which holds a run of another config: '
    f'{differences}; give another --base_dir'
  )


def row(step, mean=1.0, std=0.5, episodes=20):
  return {
    'step': step,
    'return_mean': mean,
    'return_std': std,
    'episodes': episodes,
  }


@pytest.fixture
def run(tmp_path):
  run = run_directory.RunDirectory(str(tmp_path / 'run'))
  run.prepare(CONFIG)
  return run


# Configs


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


def test_whose_figures_it_is_among_may_differ(run):
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


def test_the_length_alone_is_named_where_it_alone_differs(tmp_path):
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


# The directory


@pytest.mark.parametrize('base_dir', ['', None])
def test_no_base_dir_is_refused(base_dir):
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(base_dir)
  assert str(error.value) == (
    f'--base_dir is {base_dir!r}; it must name a directory'
  )


@pytest.mark.parametrize(
  'name, reason',
  [('file', 'not a directory'), ('file/below', 'Not a directory')],
)
def test_file_as_base_dir_is_refused(tmp_path, name, reason):
  (tmp_path / 'file').write_text('content')
  base_dir = str(tmp_path / name)
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(base_dir).prepare(CONFIG)
  assert str(error.value) == (
    f'--base_dir is {base_dir!r}, which cannot be written to '
    f'({reason}); it must be a writable directory'
  )
  assert (tmp_path / 'file').read_text() == 'content'


@pytest.mark.parametrize('base_dir', ['/proc/rigl_rl', 'nowhere://run'])
def test_impossible_base_dir_is_refused(base_dir):
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(base_dir).prepare(CONFIG)
  assert str(error.value).startswith(
    f'--base_dir is {base_dir!r}, which cannot be written to ('
  )
  assert '\n' not in str(error.value)


@pytest.mark.skipif(
  not hasattr(os, 'geteuid') or os.geteuid() == 0,
  reason='root may write everywhere',
)
def test_read_only_base_dir_is_refused(tmp_path):
  tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
  try:
    with pytest.raises(UserError, match='Permission denied'):
      run_directory.RunDirectory(str(tmp_path)).prepare(CONFIG)
  finally:
    tmp_path.chmod(stat.S_IRWXU)


def test_check_makes_nothing(tmp_path):
  base_dir = tmp_path / 'runs' / '1'
  run = run_directory.RunDirectory(str(base_dir))
  assert not run.check(CONFIG)
  assert not list(tmp_path.iterdir())
  # Directories of the user's stay, though they are empty.
  base_dir.parent.mkdir()
  assert not run.check(CONFIG)
  assert base_dir.parent.exists() and not base_dir.exists()


def test_tilde_is_the_home_directory(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  run = run_directory.RunDirectory('~/runs/1')
  run.prepare(CONFIG)
  assert (tmp_path / 'runs' / '1' / 'config.gin').exists()
  assert run.checkpoints == str(tmp_path / 'runs' / '1' / 'checkpoints')


@pytest.mark.parametrize(
  'name', ['checkpoints', 'evaluations.csv', 'summary.json']
)
def test_run_without_its_config_is_not_overwritten(tmp_path, name):
  (tmp_path / name).mkdir()
  with pytest.raises(UserError) as error:
    run_directory.RunDirectory(str(tmp_path)).prepare(CONFIG)
  assert str(error.value) == (
    f'--base_dir is {str(tmp_path)!r}, which holds {name} but no '
    'config.gin; give another --base_dir'
  )


def test_leftovers_of_a_killed_process_are_removed(run):
  base_dir = pathlib.Path(run.path())
  # Killed while writing the config and an evaluation; a file of the user.
  for name in ('config.gin.tmp-7', 'evaluations.csv.tmp-99', 'my.tmp-1'):
    (base_dir / name).write_text('half')
  assert run_directory.RunDirectory(str(base_dir)).prepare(CONFIG)
  assert sorted(os.listdir(base_dir)) == ['config.gin', 'my.tmp-1']


def test_killed_before_the_config_was_whole_is_a_new_run(tmp_path):
  (tmp_path / 'config.gin.tmp-7').write_text('SEED = ')
  assert not run_directory.RunDirectory(str(tmp_path)).prepare(CONFIG)
  assert os.listdir(tmp_path) == ['config.gin']


# Evaluations


def test_evaluations_are_written_exactly(run):
  run.append_evaluation(**row(2000, 0.1 + 0.2, 1 / 3))
  run.append_evaluation(
    **row(np.int64(4000), np.float32(0.1), np.float64(0), np.int32(5))
  )
  assert pathlib.Path(run.path('evaluations.csv')).read_text() == (
    'step,return_mean,return_std,episodes\n'
    '2000,0.30000000000000004,0.3333333333333333,20\n'
    '4000,0.10000000149011612,0.0,5\n'
  )
  assert record.read_evaluations(run.path()) == run.evaluations
  assert run.evaluations[0] == row(2000, 0.1 + 0.2, 1 / 3)


def test_no_evaluations_yet(run):
  assert record.read_evaluations(run.path()) == []


@pytest.mark.parametrize(
  'bad, error, message',
  [
    ({'step': 1}, TypeError, 'return_mean'),
    ({**row(1), 'seconds': 1.0}, TypeError, 'seconds'),
    (row(2000.5), TypeError, 'integer'),
    (row(2000), ValueError, 'step 2000 comes after 2000'),
    (row(1999), ValueError, 'step 1999 comes after 2000'),
  ],
)
def test_bad_rows_are_refused(run, bad, error, message):
  run.append_evaluation(**row(2000))
  before = pathlib.Path(run.path('evaluations.csv')).read_text()
  with pytest.raises(error, match=message):
    run.append_evaluation(**bad)
  assert pathlib.Path(run.path('evaluations.csv')).read_text() == before
  assert run.evaluations == [row(2000)]


def test_history_is_a_copy(run):
  run.append_evaluation(**row(1))
  run.evaluations[0]['step'] = 7
  run.get_state()['evaluations'].clear()
  assert run.evaluations == [row(1)]


def test_restart_equals_a_run_never_stopped(tmp_path):
  def evaluation(step):
    rng = np.random.default_rng(step)
    return row(step, rng.normal(), rng.random())

  def finish(run, start):
    for step in range(start, 6):
      run.append_evaluation(**evaluation(step))

  whole = run_directory.RunDirectory(str(tmp_path / 'whole'))
  whole.prepare(CONFIG)
  finish(whole, 1)

  run = run_directory.RunDirectory(str(tmp_path / 'killed'))
  run.prepare(CONFIG)
  for step in (1, 2):
    run.append_evaluation(**evaluation(step))
    run.append_timing(step, 10.0 * step, 100.0)
  checkpointer = checkpointing.Checkpointer(run.checkpoints)
  checkpointer.save(2, run.get_state())
  # After the checkpoint, then killed.
  run.append_evaluation(**evaluation(3))
  run.append_timing(3, 30.0, 100.0)

  again = run_directory.RunDirectory(str(tmp_path / 'killed'))
  again.set_state(checkpointer.load_latest()[1])
  # Loading writes nothing, because that could fail on a full disk.
  assert len(record.read_evaluations(again.path())) == 3
  assert again.prepare(CONFIG)
  # Cut back at once, not only at the next evaluation.
  assert len(record.read_evaluations(again.path())) == 2
  assert again.elapsed_seconds == 20.0
  finish(again, 3)
  again.append_timing(5, 77.0, 50.0)
  name = 'evaluations.csv'
  assert (tmp_path / 'killed' / name).read_bytes() == (
    tmp_path / 'whole' / name
  ).read_bytes()
  assert (tmp_path / 'killed' / 'timing.csv').read_text() == (
    'step,seconds,steps_per_second\n1,10.0,100.0\n2,20.0,100.0\n5,77.0,50.0\n'
  )


def test_start_over_without_a_checkpoint_drops_the_old_rows(run):
  run.append_evaluation(**row(1))
  run.append_evaluation(**row(2))
  again = run_directory.RunDirectory(run.path())
  assert again.prepare(CONFIG)
  again.append_evaluation(**row(1))
  assert record.read_evaluations(run.path()) == [row(1)]


def test_state_holds_no_clock(run):
  run.append_evaluation(**row(1))
  before = run.get_state()
  run.append_timing(1, 3.25, 7.0)
  assert run.get_state() == before


def test_spoiled_timing_costs_no_run(run):
  run.append_evaluation(**row(1))
  pathlib.Path(run.path('timing.csv')).write_text('nonsense\nx\n')
  again = run_directory.RunDirectory(run.path())
  again.set_state(run.get_state())
  assert again.elapsed_seconds == 0.0
  again.append_timing(1, 1.0, 2.0)


def test_elapsed_seconds_start_at_zero(run):
  assert run.elapsed_seconds == 0.0


def test_killed_while_rewriting_leaves_the_old_file(run, monkeypatch):
  run.append_evaluation(**row(1))
  before = pathlib.Path(run.path('evaluations.csv')).read_bytes()

  def die(*unused, **unused_too):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'replace', die)
  with pytest.raises(KeyboardInterrupt):
    run.append_evaluation(**row(2))
  assert pathlib.Path(run.path('evaluations.csv')).read_bytes() == before


# Summary


def test_summary_is_strict_sorted_json(run):
  record.write_json(
    run.path('summary.json'),
    {
      'seed': np.int64(3),
      'final_score': np.float32(0.5),
      'b': [np.bool_(True)],
      'nan': math.nan,
      'a': {'z': np.arange(2), 'inf': [math.inf]},
      'Δ': None,
    },
  )
  text = pathlib.Path(run.path('summary.json')).read_text(encoding='utf-8')
  assert (
    text
    == """{
  "a": {
    "inf": [
      null
    ],
    "z": [
      0,
      1
    ]
  },
  "b": [
    true
  ],
  "final_score": 0.5,
  "nan": null,
  "seed": 3,
  "Δ": null
}
"""
  )
  assert run.read_summary() == json.loads(text)


def test_finished(run):
  assert not run.finished
  record.write_json(run.path('summary.json'), {'finished': False})
  assert not run.finished
  record.write_json(
    run.path('summary.json'), {'finished': True, 'final_score': 1.0}
  )
  assert run.finished
  assert run_directory.RunDirectory(run.path()).finished


@pytest.mark.parametrize(
  'content', ['', '{"finished": tr', '[true]', '{"finished": 1}', 'null']
)
def test_spoiled_summary_is_not_finished(run, content):
  pathlib.Path(run.path('summary.json')).write_text(content)
  assert not run.finished


# The lock


def test_a_second_process_is_refused_and_touches_nothing(run, user_error):
  base_dir = pathlib.Path(run.path())
  (base_dir / 'config.gin.tmp-7').write_text('half')
  with run.lock():
    before = {path: path.stat().st_mtime_ns for path in base_dir.iterdir()}
    with user_error(
      f'--base_dir is {run.path()!r}, where another process trains (process '
      f'{os.getpid()} on ',
      'give another --base_dir',
    ):
      with run_directory.RunDirectory(run.path()).lock():
        raise AssertionError
    assert before == {
      path: path.stat().st_mtime_ns for path in base_dir.iterdir()
    }
  # The file stays for a run that may continue.
  assert (base_dir / 'train.lock').exists()
  with run.lock():
    pass


def test_a_run_that_did_not_begin_leaves_no_lock(tmp_path):
  run = run_directory.RunDirectory(str(tmp_path / 'a' / 'b'))
  with pytest.raises(UserError):
    with run.lock():
      run.check('A = 1')
      raise UserError('refused')
  assert not list(tmp_path.iterdir())


def test_a_remote_directory_has_no_lock(tmp_path):
  run = run_directory.RunDirectory(f'file://{tmp_path}/run')
  with run.lock():
    run.prepare(CONFIG)
  assert os.listdir(tmp_path / 'run') == ['config.gin']


def test_a_directory_to_go_up_from_need_not_be_there(tmp_path):
  base_dir = f'{tmp_path}/none/../run'
  run = run_directory.RunDirectory(base_dir)
  with run.lock():
    run.prepare(CONFIG)
  assert sorted(os.listdir(tmp_path)) == ['run']


@pytest.mark.parametrize('name', ['checkpoints', 'replay', 'events'])
def test_a_file_in_place_of_a_directory(run, name, user_error):
  pathlib.Path(run.path(name)).write_text('mine')
  with user_error(f'{run.path(name)} is a file, but must be a directory'):
    run.check(CONFIG)


def test_links_are_not_followed(run, tmp_path):
  outside = tmp_path / 'outside'
  outside.mkdir()
  (outside / 'a').write_text('mine')
  for name in ('probe', 'config.gin', 'curve.png'):
    pathlib.Path(run.path(f'{name}.tmp-{os.getpid()}')).symlink_to(outside)
  (tmp_path / 'b').write_text('mine')
  pathlib.Path(run.path(f'summary.json.tmp-{os.getpid()}')).symlink_to(
    tmp_path / 'b'
  )
  record.write_json(run.path('summary.json'), {})
  run.check(CONFIG)
  assert sorted(os.listdir(run.path())) == ['config.gin', 'summary.json']
  assert (outside / 'a').read_text() == (tmp_path / 'b').read_text() == 'mine'


def test_there_is_room_before_the_probe(run, monkeypatch):
  """A full disk on which a killed save has left its part."""
  left = pathlib.Path(run.path('checkpoints', 'ckpt-9.tmp-7'))
  left.mkdir(parents=True)
  segment = 'replay-000000000000-000000000002-00000000.npz'
  replay = pathlib.Path(run.path('replay'))
  replay.mkdir()
  for name in (segment, f'{segment}.tmp-7', 'mine'):
    (replay / name).write_text('')
  create = files.create

  def full(path, flush=True):
    if left.exists() or (replay / segment).exists():
      raise files.WriteError(errno.ENOSPC, 'No space left on device', path)
    return create(path, flush)

  monkeypatch.setattr(files, 'create', full)
  assert run.check(CONFIG)
  assert os.listdir(replay) == ['mine']


def test_a_full_disk_is_one_line_and_leaves_no_probe(
  run, monkeypatch, user_error
):
  def fsync(descriptor):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', fsync)
  with user_error('cannot be written to (No space left on device)'):
    run.check(CONFIG)
  assert os.listdir(run.path()) == ['config.gin']
