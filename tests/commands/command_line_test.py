"""Tests of what all commands share, in processes without TensorFlow."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_BEGIN = 'import os, sys, time\n'
_BEGIN += 'from rigl_rl.commands import command_line as c\n'


def _start(code, **arguments):
  return subprocess.Popen(
    [sys.executable, '-c', _BEGIN + code],
    cwd=_ROOT,
    stderr=subprocess.PIPE,
    # A shell's background jobs ignore SIGINT, and so would what they start.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    **arguments,
  )


def test_a_closed_pipe_is_no_traceback():
  process = _start(
    'sys.exit(c.run(lambda: [print(i) for i in range(100_000)]))',
    stdout=subprocess.PIPE,
  )
  process.stdout.readline()
  process.stdout.close()
  assert process.stderr.read() == b''
  assert process.wait() == 1


def test_a_pipe_that_is_closed_before_the_end():
  """Where all that is printed waits in a buffer."""
  process = _start(
    'sys.exit(c.run(lambda: (print(1), input())))',
    stdout=subprocess.PIPE,
    stdin=subprocess.PIPE,
  )
  process.stdout.close()
  process.stdin.write(b'\n')
  process.stdin.close()
  assert process.stderr.read() == b''
  assert process.wait() == 1


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_full_disk_under_stdout():
  with open('/dev/full', 'wb') as full:
    process = _start('sys.exit(c.run(lambda: print(1)))', stdout=full)
    assert process.stderr.read() == (
      b'error: stdout: No space left on device\n'
    )
    assert process.wait() == 2


@pytest.mark.parametrize('closed', ['>&-', '<&-', '>&- 2>&-', '<&- >&- 2>&-'])
def test_closed_streams(tmp_path, closed):
  """What is opened next is not taken for stdout."""
  code = _BEGIN + (
    'def command():\n'
    f'  with open({str(tmp_path / "file")!r}, "w") as file:\n'
    '    print("printed"); print("told", file=sys.stderr)\n'
    '    os.system("echo child")\n'
    '    sys.stderr.isatty(); file.write("content")\n'
    'sys.exit(c.run(command))'
  )
  done = subprocess.run(
    ['bash', '-c', f'exec "$0" -c "$1" {closed}', sys.executable, code],
    cwd=_ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0
  assert 'Traceback' not in done.stderr
  assert (tmp_path / 'file').read_text() == 'content'


def test_the_second_interrupt_ends_at_once():
  """During what is saved after the first one."""
  process = _start(
    'def command():\n'
    '  try:\n'
    '    print("going", flush=True); time.sleep(60)\n'
    '  finally:\n'
    '    print("saving", flush=True); time.sleep(60)\n'
    'sys.exit(c.run(command))',
    stdout=subprocess.PIPE,
  )
  for expected in (b'going\n', b'saving\n'):
    assert process.stdout.readline() == expected
    process.send_signal(signal.SIGINT)
  begin = time.monotonic()
  assert process.wait(20) == 130
  assert time.monotonic() - begin < 10
  assert process.stderr.read() == b''


def test_one_interrupt_is_one_line():
  process = _start(
    'sys.exit(c.run(lambda: (print(1, flush=True), time.sleep(60))))',
    stdout=subprocess.PIPE,
  )
  process.stdout.readline()
  process.send_signal(signal.SIGINT)
  assert process.wait(20) == 130
  assert process.stderr.read() == b'\nInterrupted.\n'
