"""What holds for every replay buffer of single transitions."""

import copy
import json
import os

import gin
import numpy as np
import pytest

from helpers import damages
from rigl_rl import errors, readers
from rigl_rl.replay import ring, transition_buffer

_OBSERVATION_SHAPE, _ACTION_SHAPE = (3,), (2,)


@pytest.fixture(
  params=[transition_buffer.TransitionBuffer], ids=lambda cls: cls.__name__
)
def make(request):
  """Makes buffers of one class."""

  def make_one(*shapes, **kwargs):
    shapes = shapes or (_OBSERVATION_SHAPE, _ACTION_SHAPE)
    return request.param(*shapes, **{'seed': 0, **kwargs})

  make_one.name = request.param.__name__
  return make_one


def _transition(i, is_last=False):
  """Number i of a long walk: observations count up."""
  return (
    np.array([i, 2 * i, 3 * i], np.float64),
    np.array([i, -i], np.float64),
    np.float32(i),
    0.0 if is_last else 1.0,
    np.array([i + 1, 2 * i + 2, 3 * i + 3], np.float64),
    is_last,
  )


def _numbers(batch):
  """The numbers of the transitions in a batch, which is checked."""
  numbers = batch.reward.astype(int)
  for row, i in enumerate(numbers):
    observation, action, _, _, next_observation, _ = _transition(i)
    np.testing.assert_array_equal(batch.observation[row], observation)
    np.testing.assert_array_equal(batch.action[row], action)
    np.testing.assert_array_equal(batch.next_observation[row], next_observation)
  return set(numbers.tolist())


def test_samples_are_new_float32_arrays(make):
  buffer = make((3, 2), (), capacity=10, batch_size=4)
  for i in range(3):
    buffer.add(
      np.full((3, 2), i), i, float(i), True, np.full((3, 2), i + 1), False
    )
  batch = buffer.sample()
  assert [array.shape for array in batch] == [
    (4, 3, 2),
    (4,),
    (4,),
    (4,),
    (4, 3, 2),
  ]
  for array in batch:
    assert array.dtype == np.float32
    assert array.flags.c_contiguous and array.flags.writeable
    array[...] = 77
  again = buffer.sample()
  assert (again.next_observation[:, 0, 0] == again.reward + 1).all()
  assert (again.action == again.reward).all()
  assert (again.discount == 1).all()


def test_a_transition_alone_can_be_sampled(make):
  for is_last in (False, True):
    buffer = make(capacity=10, batch_size=3)
    buffer.add(*_transition(7, is_last))
    batch = buffer.sample()
    assert _numbers(batch) == {7}
    assert batch.discount.tolist() == [float(not is_last)] * 3


def test_transitions_across_ends_and_gaps(make):
  buffer = make(capacity=100, batch_size=800)
  # An episode ends at 5; after 11 the loop jumps without an end.
  added = [*range(6), *range(8, 12), *range(20, 30)]
  for i in added:
    buffer.add(*_transition(i, is_last=i == 5))
  batch = buffer.sample()
  assert _numbers(batch) == set(added)
  assert set(batch.reward[batch.discount == 0]) == {5}


def test_the_oldest_are_lost(make):
  buffer = make(capacity=10, batch_size=500)
  for i in range(34):
    buffer.add(*_transition(i))
  assert _numbers(buffer.sample()) == set(range(24, 34))


def test_what_is_added_is_copied(make):
  buffer = make(capacity=10, batch_size=20)
  for i in (1, 2):
    transition = _transition(i)
    arrays = [np.asarray(value, np.float32) for value in transition[:5]]
    buffer.add(*arrays, False)
    for array in arrays:
      array[...] = 99
  assert _numbers(buffer.sample()) == {1, 2}


def test_an_empty_buffer_has_no_samples(make):
  with pytest.raises(RuntimeError, match='empty'):
    make(capacity=10, batch_size=1).sample()


@pytest.mark.parametrize(
  'place, value',
  [
    (0, np.zeros(1)),
    (0, np.zeros((1, 3))),
    (1, np.zeros(3)),
    (1, 0.0),
    (4, np.zeros(4)),
  ],
)
def test_another_shape_is_refused(make, place, value):
  buffer = make(capacity=10, batch_size=1)
  transition = list(_transition(0))
  transition[place] = value
  with pytest.raises(ValueError, match='shape'):
    buffer.add(*transition)
  with pytest.raises(RuntimeError, match='empty'):
    buffer.sample()
  buffer.add(*_transition(0))
  assert _numbers(buffer.sample()) == {0}


@pytest.mark.parametrize('binding', ['capacity', 'batch_size'])
@pytest.mark.parametrize('value', [0, -1, 1e6, True, '10', None])
def test_a_size_out_of_range_is_a_user_error(make, binding, value):
  with pytest.raises(errors.UserError) as info:
    make(**{binding: value})
  line = str(info.value).splitlines()[0]  # Gin adds where it was called.
  assert f'{make.name}.{binding} is {value!r}, but must be a whole' in line


def test_the_seed_is_checked(make):
  with pytest.raises(errors.UserError, match='-1'):
    make(seed=-1)


def test_bindings(make):
  with gin.unlock_config():
    try:
      gin.parse_config(
        [f'{make.name}.capacity = 17', f'{make.name}.batch_size = 3']
      )
      buffer = make()
      assert (buffer.capacity, buffer.batch_size) == (17, 3)
      for runtime in ('seed', 'observation_shape', 'action_shape'):
        with pytest.raises(ValueError, match=runtime):
          gin.parse_config(f'{make.name}.{runtime} = 1')
    finally:
      gin.clear_config()


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize('added', [0, 4, 25])
def test_a_checkpoint_restores_the_transitions(make, tmp_path, added):
  buffer = make(capacity=10, batch_size=500)
  for i in range(added):
    buffer.add(*_transition(i))
  manifest = copy.deepcopy(buffer.save(str(tmp_path)))
  for i in range(100, 130):  # Has to go.
    buffer.add(*_transition(i, is_last=True))
  for restored in (make(capacity=10, batch_size=500), buffer):
    restored.load(str(tmp_path), manifest)
    kept = set(range(added)[-10:])
    if kept:
      assert _numbers(restored.sample()) == kept
    for i in range(added, added + 3):
      restored.add(*_transition(i))
    expected = set(range(added + 3)[-10:])
    assert _numbers(restored.sample()) == expected


def test_delete_unused(make, tmp_path):
  (tmp_path / 'ckpt.json').write_text('{}')
  buffer = make(capacity=6, batch_size=5)
  saved = []
  for moment in range(4):
    for i in range(3 * moment, 3 * moment + 3):
      buffer.add(*_transition(i))
    saved.append(buffer.save(str(tmp_path)))
  before = set(os.listdir(tmp_path))
  named = json.dumps(saved[-2:], default=str)
  ring.delete_unused(str(tmp_path), lambda name: f'"{name}"' in named)
  after = set(os.listdir(tmp_path))
  assert 'ckpt.json' in after and after < before
  for manifest in saved[-2:]:
    make(capacity=6, batch_size=5).load(str(tmp_path), manifest)
  with pytest.raises(ValueError, match='missing'):
    make(capacity=6, batch_size=5).load(str(tmp_path), saved[0])


@pytest.mark.parametrize('damage', damages.EVERY_WAY)
def test_the_checkpoint_before_a_damaged_one_loads(make, tmp_path, damage):
  buffer = make(capacity=10, batch_size=100)
  for i in range(4):
    buffer.add(*_transition(i))
  earlier = buffer.save(str(tmp_path))
  files = set(tmp_path.rglob('*'))
  for i in range(4, 8):
    buffer.add(*_transition(i))
  later = buffer.save(str(tmp_path))
  new = set(tmp_path.rglob('*')) - files
  damage(max(new, key=lambda path: path.is_file() and path.stat().st_size))

  restored = make(capacity=10, batch_size=100)
  with pytest.raises(ValueError, match='missing|damaged'):
    restored.load(str(tmp_path), later)
  with pytest.raises(RuntimeError, match='empty'):
    restored.sample()
  restored.load(str(tmp_path), earlier)
  assert _numbers(restored.sample()) == set(range(4))


@pytest.mark.parametrize(
  'shapes, capacity, named',
  [
    (((3,), (2,)), 11, 'capacity = 10'),
    (((4,), (2,)), 10, r'observation_shape = \[3\]'),
    (((3,), (1,)), 10, r'action_shape = \[2\]'),
  ],
)
def test_a_checkpoint_of_another_kind_is_refused(
  make, tmp_path, shapes, capacity, named
):
  buffer = make(capacity=10)
  buffer.add(*_transition(0))
  manifest = buffer.save(str(tmp_path))
  with pytest.raises(ValueError, match=named):
    make(*shapes, capacity=capacity).load(str(tmp_path), manifest)


def test_a_checkpoint_of_another_class_is_refused(make, tmp_path):
  manifest = make(capacity=10).save(str(tmp_path))
  manifest['signature']['buffer'] = 'Other'
  with pytest.raises(ValueError, match='buffer = Other'):
    make(capacity=10).load(str(tmp_path), manifest)


def test_a_load_that_is_interrupted_leaves_an_empty_buffer(
  make, tmp_path, monkeypatch
):
  buffer = make(capacity=10)
  buffer.add(*_transition(0))
  manifest = buffer.save(str(tmp_path))

  def interrupted(*arguments):
    raise KeyboardInterrupt

  monkeypatch.setattr(readers, 'read_arrays', interrupted)
  with pytest.raises(KeyboardInterrupt):
    buffer.load(str(tmp_path), manifest)
  with pytest.raises(RuntimeError, match='empty'):
    buffer.sample()


def test_a_damaged_manifest_is_refused(make, tmp_path):
  buffer = make(capacity=10)
  buffer.add(*_transition(0))
  manifest = buffer.save(str(tmp_path))
  restored = make(capacity=10)
  for key in manifest:
    broken = {k: v for k, v in manifest.items() if k != key}
    with pytest.raises(ValueError, match=f"damaged: KeyError\\('{key}'\\)"):
      restored.load(str(tmp_path), broken)
  with pytest.raises(ValueError, match='format 2'):
    restored.load(str(tmp_path), {**manifest, 'format': 2})
  restored.load(str(tmp_path), manifest)
