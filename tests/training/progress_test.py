"""What is shown of a run: a bar on a terminal, lines elsewhere."""

import io
import sys
import types

import pytest

from rigl_rl.training import progress


@pytest.fixture(name='clock')
def _clock(monkeypatch):
  """The time, which a test moves."""
  clock = types.SimpleNamespace(now=0.0)
  fake = types.SimpleNamespace(monotonic=lambda: clock.now)
  monkeypatch.setattr(progress, 'time', fake)
  return clock


def _step(shown, clock, steps):
  """Four steps per second."""
  for _ in range(steps):
    clock.now += 0.25
    shown.step()


def test_one_line_per_minute(clock, capsys):
  losses = iter([None, 0.12345])
  shown = progress.Progress(1000, 100, lambda: next(losses))
  _step(shown, clock, 239)
  assert capsys.readouterr() == ('', '')
  _step(shown, clock, 1)
  # 660 steps are left, in 165 seconds.
  assert capsys.readouterr() == (
    '',
    '340 of 1,000 steps, 4 steps/s, 02:45 left\n',
  )
  shown.evaluated(340, 12.34)
  assert capsys.readouterr() == ('340 steps: return 12.3\n', '')
  clock.now += 59.75  # An evaluation takes its time, too.
  _step(shown, clock, 1)
  # 659 steps are left, at one per minute.
  assert capsys.readouterr().err == (
    '341 of 1,000 steps, 0 steps/s, 10:59:00 left, return 12.3, loss 0.123\n'
  )


def test_one_evaluation_per_tenth(capsys):
  shown = progress.Progress(1000, 100, lambda: None)
  for step in (150, 199, 200, 250, 420, 999, 1000):
    shown.evaluated(step, step / 10)
  shown.close()
  assert capsys.readouterr() == (
    '200 steps: return 20.0\n420 steps: return 42.0\n'
    '999 steps: return 99.9\n1,000 steps: return 100.0\n',
    '',
  )


def test_a_bar_on_a_terminal(clock, monkeypatch, capsys):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr(sys, 'stderr', terminal)
  shown = progress.Progress(10, 0, lambda: 0.5)
  shown.evaluated(2, 7.0)
  _step(shown, clock, 10)
  shown.close()
  assert '10.0/10.0' in terminal.getvalue()
  assert 'return 7.0, loss 0.5' in terminal.getvalue()
  assert capsys.readouterr().out == ''
