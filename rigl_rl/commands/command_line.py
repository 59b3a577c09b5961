"""What the commands share: gin flags, quiet imports, errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import traceback
from typing import Any, Callable, Iterator, Mapping, Sequence

from rigl_rl import errors, quiet
from rigl_rl.errors import UserCodeError, UserError
from rigl_rl.training import lean

_PACKAGE = os.path.dirname(os.path.abspath(errors.__file__)) + os.sep


def invocation(command: str) -> str:
  """Returns how a command is typed: as this process was, if that is known."""
  if os.path.basename(sys.argv[0]) == 'rigl-rl':
    return f'rigl-rl {command}'
  return f'python -m launch.{command}'


def make_parser(command: str, doc: str) -> argparse.ArgumentParser:
  """Returns a command's parser, which has no flags yet."""
  return argparse.ArgumentParser(
    prog=invocation(command),
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )


def add_gin_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that name a gin config."""
  parser.add_argument(
    '--gin_files',
    action='append',
    metavar='FILE',
    required=True,
    help='a gin file; may be repeated, later ones win',
  )
  add_bindings_argument(parser)


def add_bindings_argument(
  parser: argparse.ArgumentParser, of_what: str = ''
) -> None:
  """Adds --gin_bindings; `of_what` says what they are bindings of."""
  parser.add_argument(
    '--gin_bindings',
    action='append',
    default=[],
    metavar='BINDING',
    help=f"a binding{of_what} that wins, such as 'SPARSITY=0.95'; may be "
    'repeated',
  )


def add_thread_arguments(parser: argparse.ArgumentParser) -> None:
  for name, default, text in (
    ('inter', 2, 'TensorFlow operations at a time (default: 2)'),
    ('intra', 1, 'threads within one operation (default: 1)'),
  ):
    flag = f'--{name}_op_threads'
    parser.add_argument(flag, type=int, default=default, metavar='N', help=text)


def check_at_least(arguments: argparse.Namespace, **lows: int) -> None:
  """Raises UserError on a number that is given, and below its flag's lowest."""
  for name, low in lows.items():
    value = getattr(arguments, name)
    if value is not None and value < low:
      raise UserError(f'--{name} is {value}, but must be at least {low}.')


def to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns rows as CSV."""
  import pandas as pd  # Takes a second to load.

  table = pd.DataFrame(rows, columns=columns)
  return table.to_csv(index=False, lineterminator='\n')


def start_tensorflow(arguments: argparse.Namespace) -> None:
  """Loads TensorFlow without its noise, on the threads that were asked for."""
  quiet.configure_threads(
    intra=arguments.intra_op_threads, inter=arguments.inter_op_threads
  )


def run(command: Callable[[], int | None]) -> int:
  """Runs a command; returns its exit code, or 0 if it has none.

  A user's mistake becomes one line and exit code 2.
  """
  quiet.open_streams()
  lean.install()
  with _interrupts():
    try:
      try:
        with errors.of_incomplete_config():
          code = command() or 0
      except UserError as error:
        _print_error(error)
        code = 2
      # Not at the end of the process, where an error is a traceback.
      sys.stdout.flush()
      return code
    except BrokenPipeError:  # `... | head` has seen enough.
      _discard_output()
      return 1
    except KeyboardInterrupt as interrupt:
      print(f'\nInterrupted{interrupt}.', file=sys.stderr)
      return 130
    except OSError as error:
      if error.filename is not None:
        raise
      _discard_output()
      print(f'error: stdout: {error.strerror or error}', file=sys.stderr)
      return 2


def _discard_output() -> None:
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
  """Lets the second Ctrl-C end the process at once, as a kill does.

  The first one raises KeyboardInterrupt. Cleaning up after it, and the end of
  the interpreter, would turn the second one into a traceback.
  """
  before = signal.getsignal(signal.SIGINT)
  is_main = threading.current_thread() is threading.main_thread()
  if not is_main or before is not signal.default_int_handler:
    yield
    return

  def interrupt(number, frame):
    del number, frame
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    raise KeyboardInterrupt

  signal.signal(signal.SIGINT, interrupt)
  try:
    yield
  finally:
    # After a first Ctrl-C a second one may still come.
    if signal.getsignal(signal.SIGINT) is interrupt:
      signal.signal(signal.SIGINT, before)


def _print_error(error: UserError) -> None:
  # gin adds lines that say where it was called from.
  print(f'error: {str(error).splitlines()[0]}', file=sys.stderr)
  if isinstance(error, UserCodeError):
    print(''.join(_own_traceback(error.original)), end='', file=sys.stderr)


def _own_traceback(error: Exception) -> list[str]:
  """Returns a traceback without the frames of what calls a user's code."""
  frames = traceback.extract_tb(error.__traceback__)
  callers = [
    number
    for number, frame in enumerate(frames, 1)
    if frame.filename.startswith(_PACKAGE)
    or f'{os.sep}site-packages{os.sep}gymnasium{os.sep}' in frame.filename
  ]
  return [
    'Traceback (most recent call last):\n',
    *traceback.format_list(frames[max(callers, default=0) :] or frames),
    *traceback.format_exception_only(type(error), error),
  ]
