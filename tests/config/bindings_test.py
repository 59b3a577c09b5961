"""Tests of reading what gin binds."""

import gin
import pytest

from rigl_rl.config import bindings

pytestmark = pytest.mark.usefixtures('no_gin_config')


@gin.configurable
def bindings_test_target(required=gin.REQUIRED, size=1, make=None):
  return required, size, make


@gin.configurable
def bindings_test_value():
  calls.append(gin.current_scope())
  return 7


calls = []


def test_bound_and_default_values():
  gin.parse_config("""
    SIZE = 3
    bindings_test_target.required = @bindings_test_value
    bindings_test_target.size = %SIZE
  """)
  assert bindings.read(bindings_test_target) == {
    'required': bindings_test_value,
    'size': 3,
    'make': None,
  }


def test_the_scope_of_the_moment():
  gin.parse_config("""
    bindings_test_target.size = 3
    actor/bindings_test_target.size = 4
  """)
  with gin.config_scope('actor'):
    assert bindings.read(bindings_test_target, ('size',)) == {'size': 4}
  assert bindings.read(bindings_test_target, ('size',)) == {'size': 3}


def test_only_what_is_wanted_is_computed():
  gin.parse_config('bindings_test_target.make = @bindings_test_value()')
  calls.clear()
  assert bindings.read(bindings_test_target, ('size',)) == {'size': 1}
  assert not calls
  assert bindings.read(bindings_test_target, ('make',)) == {'make': 7}
  assert len(calls) == 1


def test_required_but_not_bound(user_error):
  with user_error('bindings_test_target.required', 'a whole run'):
    bindings.read(bindings_test_target)
  # An argument that has no default, and is not required, is left out.
  assert bindings.read(bindings_test_target, ('size', 'other')) == {'size': 1}
