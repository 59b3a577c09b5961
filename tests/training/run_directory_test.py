"""What may be a run directory, and what is refused."""

import errno
import os
import pathlib
import stat

import pytest

from helpers.run_directories import CONFIG
from rigl_rl import files
from rigl_rl.errors import UserError
from rigl_rl.training import record, run_directory


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
  expected = tmp_path / 'runs' / '1' / 'checkpoints'
  assert run.checkpoints.directory == str(expected)


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


def test_a_directory_of_runs_is_no_run(tmp_path, user_error):
  (tmp_path / 'seed0').mkdir()
  (tmp_path / 'seed0' / 'config.gin').touch()
  (tmp_path / 'sweep.log').touch()
  with user_error('--base_dir is', 'holds runs, such as seed0'):
    run_directory.RunDirectory(str(tmp_path)).check(CONFIG)
