"""Streams are named, independent, and the same in every process."""

import json
import subprocess
import sys

import numpy as np
import pytest

from rigl_rl import seeding
from rigl_rl.errors import UserError


def test_stream_seeds_are_fixed_for_good():
  # Printed once and pinned: a change here changes every published run.
  assert seeding.stream_seed(0, 'masks') == 1488260628
  assert seeding.stream_seed(3, 'evaluation', 2) == 1227731163
  assert int(seeding.generator(0, 'replay').integers(2**31)) == 1134782825


def test_stream_seeds_do_not_depend_on_the_process():
  code = (
    'from rigl_rl import seeding;'
    'print(seeding.stream_seed(7, "networks", "online", 1))'
  )
  expected = str(seeding.stream_seed(7, 'networks', 'online', 1))
  for hash_seed in ('1', '2'):
    result = subprocess.run(
      [sys.executable, '-c', code],
      capture_output=True,
      text=True,
      check=True,
      env={'PYTHONHASHSEED': hash_seed, 'PYTHONPATH': _path()},
    )
    assert result.stdout.strip() == expected


def _path():
  return ':'.join(path for path in sys.path if path)


def test_stream_seeds_differ_by_seed_and_name():
  paths = [
    (),
    ('a',),
    ('b',),
    ('a', 'b'),
    ('ab',),
    ('b', 'a'),
    ('a', 1),
    ('a', '1'),
    ('a1',),
    (1,),
    ('1',),
    ('',),
    ('', ''),
    ('é',),
    (-1,),
    ('a', 0),
  ]
  seeds = [
    seeding.stream_seed(seed, *names)
    for seed in (0, 1, 2**31, 2**32, 2**100)
    for names in paths
  ]
  assert len(set(seeds)) == len(seeds)
  assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)


def test_numpy_integers_name_the_same_stream():
  expected = seeding.stream_seed(4, 'evaluation', 5)
  assert seeding.stream_seed(np.int64(4), 'evaluation', np.int32(5)) == expected


def test_generators_of_two_names_are_uncorrelated():
  one = seeding.generator(0, 'environment').standard_normal(10_000)
  two = seeding.generator(0, 'exploration').standard_normal(10_000)
  # The correlation of independent samples has a standard error of .01.
  assert abs(np.corrcoef(one, two)[0, 1]) < 0.05


@pytest.mark.parametrize('seed', [-1, 1.0, '1', None, True, np.float32(2)])
def test_bad_seed_is_refused(seed):
  for function in (
    seeding.check_seed,
    lambda seed: seeding.stream_seed(seed, 'a'),
    lambda seed: seeding.generator(seed, 'a'),
  ):
    with pytest.raises(UserError) as error:
      function(seed)
    assert str(error.value) == f'SEED is {seed!r}; it must be an integer >= 0'


@pytest.mark.parametrize('name', [1.5, None, True, ('a',)])
def test_bad_stream_name_is_refused(name):
  with pytest.raises(TypeError, match='named by str and int'):
    seeding.stream_seed(0, name)


def test_generator_state_survives_json():
  gen = seeding.generator(5, 'a')
  # A 32-bit draw leaves half of a 64-bit one in the state.
  gen.integers(2**20, size=7, dtype=np.uint32)
  gen.standard_normal(3)
  state = json.loads(json.dumps(gen.bit_generator.state))
  expected = gen.integers(2**20, size=9, dtype=np.uint32)
  expected_normal = gen.standard_normal(5)

  restored = seeding.generator(5, 'b')
  restored.bit_generator.state = state
  assert (restored.integers(2**20, size=9, dtype=np.uint32) == expected).all()
  assert (restored.standard_normal(5) == expected_normal).all()
