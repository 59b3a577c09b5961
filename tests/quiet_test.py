"""Imports print nothing; after a failure or on request, all is shown."""

import os
import re
import subprocess
import sys

import pytest

from rigl_rl import quiet
from rigl_rl.errors import UserError

_IMPORTS = """
import tensorflow
import tf_agents
import dopamine.discrete_domains.run_experiment
import gymnasium
import ale_py
import mujoco
import rliable
"""


def run_python(code, **environment):
  """Runs code in a process without pytest's filters and variables."""
  inherited = {
    key: value
    for key, value in os.environ.items()
    if key not in quiet._ENVIRONMENT
    and not key.startswith(('PYTHONWARNINGS', 'RIGL_RL', 'TF_'))
  }
  path = os.pathsep.join(path for path in sys.path if path)
  return subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    env={**inherited, 'PYTHONPATH': path, **environment},
  )


def assert_silent(result):
  assert (result.stdout, result.stderr, result.returncode) == ('', '', 0)


def test_silence_leaves_what_tensorflow_writes_at_import():
  """Its C++ side writes these lines before it reads any setting."""
  result = run_python(
    f'from rigl_rl import quiet\nquiet.silence()\n{_IMPORTS}'
    'tensorflow.function(lambda x: x + 1)(tensorflow.constant(1.))\n'
  )
  left = [
    line
    for line in result.stderr.splitlines()
    if 'absl::InitializeLog' not in line
    and not re.match(r'I\d{4} .*(port|cudart_stub)\.cc:\d+\]', line)
  ]
  assert (result.stdout, left, result.returncode) == ('', [], 0)


def test_import_quietly_and_what_follows():
  imports = _IMPORTS.replace('\n', '\n  ')
  assert_silent(
    run_python(
      'from rigl_rl import quiet\n'
      f'with quiet.import_quietly():\n  {imports}\n'
      'import warnings\n'
      # Gymnasium calls it out of date, yet it is the paper's task.
      'gymnasium.make("CartPole-v0").reset(seed=0)\n'
      'tensorflow.function(lambda x: x + 1)(tensorflow.constant(1.))\n'
    )
  )


def test_a_name_of_the_package_starts_tensorflow_quietly():
  assert_silent(
    run_python(
      'import logging, rigl_rl\n'
      'before = logging.getLogger("absl").level\n'
      'rigl_rl.sparsify\n'
      'import tensorflow as tf\n'
      'tf.function(lambda x: x + 1)(tf.constant(1.))\n'
      'assert logging.getLogger("absl").level == before\n'
    )
  )


@pytest.mark.parametrize(
  'set_by_user, loaded', [('0', False), (None, True), (None, False)]
)
def test_tensorflow_of_the_user_stays_as_it_is(
  monkeypatch, capfd, set_by_user, loaded
):
  name = 'TF_CPP_MIN_LOG_LEVEL'
  environment = {} if set_by_user is None else {name: set_by_user}
  monkeypatch.setattr(os, 'environ', environment)
  monkeypatch.setattr(sys, 'modules', {**sys.modules, 'tensorflow': None})
  if not loaded:
    del sys.modules['tensorflow']
  with quiet.start_tensorflow_quietly():
    os.write(2, b'of C++')
  is_hidden = set_by_user is None and not loaded
  assert capfd.readouterr().err == ('' if is_hidden else 'of C++')
  assert environment.get(name) == ('3' if is_hidden else set_by_user)


def test_without_silence_an_import_prints():
  result = run_python('import gym')  # As tf_agents does.
  assert result.returncode == 0 and 'Gym has been' in result.stderr


def test_verbose_leaves_everything_alone():
  code = (
    'import os\n'
    'from rigl_rl import quiet\n'
    'before = dict(os.environ)\nquiet.silence()\n'
    'assert dict(os.environ) == before\n'
    'import sys\nassert "absl" not in sys.modules\n'
    'with quiet.import_quietly():\n'
    '  import gym\n'
  )
  result = run_python(code, RIGL_RL_VERBOSE='1')
  assert result.returncode == 0, result.stderr
  assert 'Gym has been' in result.stderr
  assert_silent(
    run_python(
      'from rigl_rl import quiet\nwith quiet.import_quietly():\n  import gym\n',
      RIGL_RL_VERBOSE='0',
    )
  )


def test_the_module_imports_nothing_heavy():
  result = run_python(
    'import sys\nfrom rigl_rl import quiet\nquiet.silence()\n'
    'print(*{name.split(".")[0] for name in sys.modules})\n'
  )
  assert result.stderr == ''
  loaded = set(result.stdout.split())
  assert not loaded & {'numpy', 'tensorflow', 'gin', 'gym', 'jax', 'keras'}


def test_variables_of_the_user_win():
  result = run_python(
    'import os\nfrom rigl_rl import quiet\nquiet.silence()\n'
    'print(os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["JAX_PLATFORMS"],'
    ' os.environ.get("TF_ENABLE_ONEDNN_OPTS"))\n',
    TF_CPP_MIN_LOG_LEVEL='0',
  )
  assert result.stdout == '0 cpu None\n'


def test_failed_import_shows_what_was_hidden():
  result = run_python(
    'import os\nfrom rigl_rl import quiet\n'
    'with quiet.import_quietly():\n'
    '  os.write(1, b"from C\\n")\n'
    '  print("from Python")\n'
    '  import no_such_module\n'
  )
  assert result.returncode == 1
  assert result.stdout == ''
  hidden, traceback = result.stderr.split('Traceback', 1)
  assert hidden == 'from C\nfrom Python\n'
  assert "No module named 'no_such_module'" in traceback


def test_output_after_the_block_is_shown():
  result = run_python(
    'import os, sys\nfrom rigl_rl import quiet\n'
    'print("before")\n'
    'with quiet.import_quietly():\n'
    '  print("hidden"); print("hidden", file=sys.stderr)\n'
    '  os.write(2, b"hidden")\n'
    'print("after"); print("after", file=sys.stderr)\n'
  )
  assert (result.stdout, result.stderr) == ('before\nafter\n', 'after\n')


def test_closed_streams_are_no_error():
  result = run_python(
    'import os\nos.close(1)\nos.close(2)\n'
    'from rigl_rl import quiet\n'
    'with quiet.import_quietly():\n  import json\n'
    'os._exit(7)\n'
  )
  assert result.returncode == 7


def test_own_warnings_stay_visible():
  result = run_python(
    'from rigl_rl import quiet\n'
    'with quiet.import_quietly():\n  import tensorflow\n'
    'import logging, warnings\n'
    'logging.getLogger("rigl_rl.training.checkpointing").warning("ours")\n'
    'warnings.warn("the user\'s")\n'
  )
  assert 'ours\n' in result.stderr and "the user's" in result.stderr


def test_own_warnings_stay_visible_under_absl():
  result = run_python(
    'from rigl_rl import quiet\nquiet.silence()\n'
    'from absl import app\nimport logging\n'
    'def main(_):\n'
    '  logging.getLogger("rigl_rl.training").warning("ours")\n'
    '  logging.getLogger("absl").warning("theirs")\n'
    'app.run(main, argv=["x"])\n'
  )
  assert 'ours' in result.stderr and 'theirs' not in result.stderr


def test_threads_are_set_before_tensorflow_starts():
  result = run_python(
    'from rigl_rl import quiet\nquiet.configure_threads()\n'
    'import tensorflow as tf\nthreading = tf.config.threading\n'
    'tf.constant(1.)\n'
    'print(threading.get_intra_op_parallelism_threads(),'
    ' threading.get_inter_op_parallelism_threads())\n'
    'quiet.configure_threads(1, 2)\n'
    'try:\n  quiet.configure_threads(2, 2)\n'
    'except RuntimeError:\n  print("too late")\n'
  )
  assert (result.stdout, result.stderr) == ('1 2\ntoo late\n', '')


@pytest.mark.parametrize(
  'arguments, message',
  [
    ((-1, 2), 'intra-op threads is -1; it must be an integer >= 0'),
    ((1, 1.5), 'inter-op threads is 1.5; it must be an integer >= 0'),
    ((1, True), 'inter-op threads is True; it must be an integer >= 0'),
  ],
)
def test_bad_thread_counts_are_refused(arguments, message):
  with pytest.raises(UserError) as error:
    quiet.configure_threads(*arguments)
  assert str(error.value) == message
