"""What holds for all tests, and fixtures that many of them share."""

import contextlib
import os

import gin
import pytest

from rigl_rl.errors import UserError

# The frameworks' start-up messages are off. Read once, when TensorFlow is first
# imported: so before any test module.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')


@pytest.fixture
def no_gin_config():
  """Nothing is bound when the test begins, nor after it."""
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture
def user_error():
  """A context that ends in a UserError of one line which holds some texts.

  with user_error('SPARSITY', '[0, 1)'):
    ...
  """

  @contextlib.contextmanager
  def expect(*parts):
    with pytest.raises(UserError) as error:
      yield
    # Lines that gin appends, on where a configurable was called, are indented.
    message, *context = str(error.value).splitlines()
    assert all(line.startswith('  In ') for line in context)
    for part in parts:
      assert part in message

  return expect


@pytest.fixture(scope='session')
def operations():
  """The compiled operations; a test that asks for them is skipped without."""
  from rigl_rl.kernels import loader

  loaded = loader.load()
  if loaded is None:
    pytest.skip('there is no compiler, or the kernels are switched off')
  return loaded


@pytest.fixture
def nothing_loaded(monkeypatch):
  """As in a process that has not looked for compiled operations yet."""
  from rigl_rl.kernels import loader

  monkeypatch.setattr(loader, '_loaded', [])
  monkeypatch.delenv('RIGL_RL_KERNELS', raising=False)
