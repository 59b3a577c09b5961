"""Tests of rigl_rl.replay.manifests."""

import pytest

from rigl_rl.replay import manifests

_MANIFEST = {'format': 1, 'signature': {'capacity': 5, 'shape': [3]}}


def test_an_equal_signature_passes():
  manifests.check(_MANIFEST, 1, {'capacity': 5, 'shape': [3]})


@pytest.mark.parametrize(
  'version, signature, message',
  [
    (2, {'capacity': 5, 'shape': [3]}, 'in format 1; this version .* format 2'),
    (1, {'capacity': 6, 'shape': [3]}, 'capacity = 5, but this buffer has 6'),
    (1, {'capacity': 5, 'shape': [4]}, r'shape = \[3\], .* has \[4\]'),
  ],
)
def test_a_difference_is_named(version, signature, message):
  with pytest.raises(ValueError, match=message):
    manifests.check(_MANIFEST, version, signature)


def test_a_load_begins_with_an_empty_buffer():
  held = [1]
  with manifests.loading(held.clear):
    assert not held
    held.append(2)
  assert held == [2]


@pytest.mark.parametrize(
  'error, raised, message',
  [
    (KeyError('count'), ValueError, "damaged: KeyError\\('count'\\)"),
    (TypeError('int'), ValueError, 'damaged'),
    (ValueError('torn'), ValueError, '^torn$'),
    (KeyboardInterrupt(), KeyboardInterrupt, '^$'),
  ],
)
def test_a_failed_load_leaves_an_empty_buffer(error, raised, message):
  held = []
  with pytest.raises(raised, match=message), manifests.loading(held.clear):
    held.append(1)
    raise error
  assert not held
