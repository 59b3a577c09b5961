"""Tests of reading and writing files."""

import os

import pytest

from rigl_rl import files
from rigl_rl.training import paths


@pytest.mark.parametrize('scheme', ['', 'file://'])
def test_what_is_written_is_read(scheme, tmp_path):
  path = f'{scheme}{tmp_path}/a'
  for data in (b'old', b'new'):
    paths.write(path, data)
    assert files.read(path) == data
  assert os.listdir(tmp_path) == ['a']


def test_directories_are_made(tmp_path):
  paths.write(str(tmp_path / 'a' / 'b' / 'c'), b'1')
  assert (tmp_path / 'a' / 'b' / 'c').read_bytes() == b'1'


def test_in_the_current_directory(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  paths.write('a', b'1')
  assert files.read('a') == b'1'


@pytest.mark.parametrize('scheme', ['', 'file://'])
@pytest.mark.parametrize('name', ['file/x', 'directory'])
def test_what_cannot_be_written(scheme, name, tmp_path, user_error):
  (tmp_path / 'file').touch()
  (tmp_path / 'directory' / 'below').mkdir(parents=True)
  path = f'{scheme}{tmp_path}/{name}'
  with user_error(f'--csv needs {path!r}, which cannot be written ('):
    paths.write(path, b'1', '--csv')
  # Nothing is left behind.
  if not scheme:
    assert sorted(os.listdir(tmp_path)) == ['directory', 'file']
