"""Keras 2 is chosen in any order of imports, or one line says why not."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _run(code: str):
  environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
  environment.pop('TF_USE_LEGACY_KERAS', None)
  return subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    env=environment,
  )


def test_keras_is_that_of_tf_keras():
  assert tf.keras.Model.__module__.startswith('tf_keras')


@pytest.mark.parametrize('value', [None, '0'])
def test_importing_the_package_chooses_it(value, monkeypatch):
  from rigl_rl import legacy_keras

  if value is None:
    monkeypatch.delenv('TF_USE_LEGACY_KERAS', raising=False)
  else:
    monkeypatch.setenv('TF_USE_LEGACY_KERAS', value)
  legacy_keras.choose()
  assert os.environ['TF_USE_LEGACY_KERAS'] == '1'


def test_tensorflow_may_be_imported_first():
  done = _run(
    'import tensorflow as tf, rigl_rl\n'
    'import tensorflow.keras, tensorflow.keras.layers\n'
    'print(tf.keras.Model.__module__, tensorflow.keras.layers.Dense.__module__)'
  )
  assert done.returncode == 0, done.stderr
  model, layer = done.stdout.split()
  assert model.startswith('tf_keras') and layer.startswith('tf_keras')


def test_keras_3_in_use_is_one_clear_line():
  done = _run('import tensorflow as tf\ntf.keras.Model\nimport rigl_rl')
  assert done.returncode == 1
  line = done.stderr.splitlines()[-1]
  assert 'needs Keras 2' in line and 'uses Keras 3.' in line
  assert 'import rigl_rl before tensorflow' in line
