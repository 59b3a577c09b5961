"""What a directory's event files hold, as TensorFlow reads it."""

import pathlib

import tensorflow as tf


def values(directory):
  """Yields a step and a summary value at a time, in the files' order."""
  for path in sorted(pathlib.Path(directory).glob('events*')):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        yield event.step, value


def scalars(directory):
  """Returns {tag: [(step, value), ...]}, each as often as it was written."""
  found = {}
  for step, value in values(directory):
    if value.metadata.plugin_data.plugin_name == 'scalars':
      number = float(tf.make_ndarray(value.tensor))
      found.setdefault(value.tag, []).append((step, number))
  return found
