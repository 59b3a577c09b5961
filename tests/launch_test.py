"""The scripts of a checkout: each runs a command of the package."""

import pathlib
import runpy
import sys

import pytest

from rigl_rl.commands import __main__ as entry

_SCRIPTS = sorted(
  path.stem
  for path in (pathlib.Path(__file__).parents[1] / 'launch').glob('[!_]*.py')
)


def test_every_command_has_a_script():
  assert entry.commands() == _SCRIPTS


@pytest.mark.parametrize('name', _SCRIPTS)
def test_a_script_runs_its_command(name, monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', [f'launch/{name}.py', '--help'])
  with pytest.raises(SystemExit) as raised:
    runpy.run_module(f'launch.{name}', run_name='__main__')
  assert raised.value.code == 0
  usage = f'usage: python -m launch.{name} '
  assert capsys.readouterr().out.startswith(usage)


def test_help_names_the_command_as_it_was_typed(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', ['/venv/bin/rigl-rl', 'train', '--help'])
  with pytest.raises(SystemExit):
    entry.main()
  assert capsys.readouterr().out.startswith('usage: rigl-rl train ')
