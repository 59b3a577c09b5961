"""What breaks without a private name of gin."""

import io

import gin
import pytest

from rigl_rl.compat import gin as compat

pytestmark = pytest.mark.usefixtures('no_gin_config')


@gin.configurable
def compat_test_target(size=1, make=None):
  return size, make


def test_note_as_used():
  """Without it operative_config.gin lacks what is read and never called.

  Bindings of it would then be refused as bindings that have no effect.
  """
  gin.bind_parameter('scope/compat_test_target.size', 3)
  with gin.config_scope('scope'):
    compat.note_as_used(compat_test_target, {'size': 3})
  assert 'scope/compat_test_target.size = 3' in gin.operative_config_str()


def test_used():
  """Without it no binding that has no effect is found."""
  with gin.config_scope('scope'):
    compat_test_target(size=2)
  ((scope, selector),) = compat.used()
  assert scope == 'scope'
  assert selector.endswith('.compat_test_target')
  assert compat.used()[scope, selector] == {'make'}


def test_read_files_first_by(monkeypatch):
  """Without it gin logs errors about the package's gin files, or fails.

  It takes 'gin_configs/agents' for a Python package.
  """
  monkeypatch.setattr(
    gin.config, '_FILE_READERS', list(gin.config._FILE_READERS)
  )
  opened = []

  def open_file(name):
    opened.append(name)
    return io.StringIO('compat_test_target.size = 7')

  for _ in range(2):
    compat.read_files_first_by(open_file, lambda name: name == 'no/such.gin')
  gin.parse_config("include 'no/such.gin'")
  assert compat_test_target() == (7, None)
  assert opened == ['no/such.gin']
