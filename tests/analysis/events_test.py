"""Tests of reading TensorBoard's event files."""

import pytest

from helpers import synthetic_runs
from rigl_rl.analysis import events


def test_scalars_by_name(tmp_path):
  synthetic_runs.write_events(
    tmp_path, [(10, {'a/x': 1.5, 'b': 2.0}), (5, {'a/x': 0.5, 'a/y': 3.0})]
  )
  table = events.read_scalars(tmp_path, 'a/')
  assert table.to_dict('list') == {
    'name': ['a/x', 'a/x', 'a/y'],
    'step': [5, 10, 5],
    'value': [0.5, 1.5, 3.0],
  }


def test_of_a_continued_run_the_later_file_counts(tmp_path):
  first = [(1, {'a': 1.0}), (2, {'a': 2.0}), (3, {'a': 3.0})]
  synthetic_runs.write_events(tmp_path, first, time=100)
  synthetic_runs.write_events(tmp_path, [(2, {'a': 20.0})], time=200)
  # The step 3 is not yet reached again.
  assert list(events.read_scalars(tmp_path, 'a').value) == [1.0, 20.0]


def test_a_torn_end_is_not_read(tmp_path):
  path = synthetic_runs.write_events(tmp_path, [(1, {'a': 1.0})])
  whole = path.read_bytes()
  for kept in (len(whole) - 1, len(whole) - 20):
    path.write_bytes(whole + whole[:kept])
    assert list(events.read_scalars(tmp_path, 'a').value) == [1.0]


def test_a_run_without_events(tmp_path):
  assert len(events.read_scalars(tmp_path, 'a')) == 0


def test_what_tensorflow_writes(tmp_path):
  import tensorflow as tf

  writer = tf.summary.create_file_writer(str(tmp_path / 'events'))
  with writer.as_default():
    tf.summary.scalar('gradients/snr/actor', 0.25, step=7)
    tf.summary.scalar('loss', 3.0, step=7)
    tf.summary.scalar('gradients/snr/critic', tf.constant(0.5), step=9)
  writer.close()
  table = events.read_scalars(tmp_path, 'gradients/snr')
  assert table.to_dict('list') == {
    'name': ['gradients/snr/actor', 'gradients/snr/critic'],
    'step': [7, 9],
    'value': [0.25, 0.5],
  }


@pytest.mark.parametrize(
  'earlier, current',
  [
    ('gradients/snr', 'gradients/snr/online'),
    ('gradients/snr/actor', 'gradients/snr/actor'),
  ],
)
def test_names_of_earlier_versions(tmp_path, earlier, current):
  synthetic_runs.write_events(tmp_path, [(1, {earlier: 0.5})])
  table = events.read_scalars(tmp_path, '')
  assert table.values.tolist() == [[current, 1, 0.5]]
