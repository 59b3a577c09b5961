"""Tests of events of a run that is killed and started again."""

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import plugin_event_accumulator

from rigl_rl.analysis import events
from rigl_rl.training import event_writer


def _process(directory, steps_done, steps, value):
  """Writes as a process that starts at a checkpoint, and is then killed."""
  path = directory / 'events'
  before = set(path.iterdir()) if path.exists() else set()
  writer = event_writer.create(str(path), steps_done, {})
  for step in steps:
    with writer.as_default(step=step):
      tf.summary.scalar('gradients/snr', value)
      tf.summary.scalar('other', value)
  writer.close()
  # As if each began a second after the last.
  (made,) = set(path.iterdir()) - before
  made.rename(path / f'events.out.tfevents.{len(before):010}.host.1.0.v2')


def _tensorboard(directory, tag):
  """Steps and values as TensorBoard reads them."""
  accumulator = plugin_event_accumulator.EventAccumulator(
    str(directory / 'events'), tensor_size_guidance={'scalars': 0}
  )
  accumulator.Reload()
  return [
    (event.step, float(tf.make_ndarray(event.tensor_proto)))
    for event in accumulator.Tensors(tag)
  ]


@pytest.mark.parametrize(
  'resumed,expected',
  [
    # Of the second process nothing was written yet, or the first step.
    ((20, []), [(10, 1.0), (20, 1.0)]),
    ((20, [30]), [(10, 1.0), (20, 1.0), (30, 2.0)]),
    # By other steps than before, in what was not reached again.
    ((20, [25]), [(10, 1.0), (20, 1.0), (25, 2.0)]),
    # All of them again, because there was no checkpoint.
    ((0, [10, 20]), [(10, 2.0), (20, 2.0)]),
  ],
)
def test_no_step_is_read_twice(tmp_path, resumed, expected):
  _process(tmp_path, 0, [10, 20, 30, 40], 1.0)
  _process(tmp_path, *resumed, 2.0)
  for tag in ('gradients/snr', 'other'):
    assert _tensorboard(tmp_path, tag) == expected
    table = events.read_scalars(str(tmp_path), tag)
    assert list(zip(table.step, table.value)) == expected


def test_of_three_processes_the_later_ones_count(tmp_path):
  for number, steps_done in enumerate((0, 10, 5)):
    steps = range(steps_done + 5, 21, 5)
    _process(tmp_path, steps_done, steps, float(number))
  expected = [(5, 0.0), (10, 2.0), (15, 2.0), (20, 2.0)]
  assert _tensorboard(tmp_path, 'other') == expected
  table = events.read_scalars(str(tmp_path), 'other')
  assert list(zip(table.step, table.value)) == expected
