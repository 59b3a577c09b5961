"""Keras 2, which TF-Agents and TensorFlow Probability are written for."""

from __future__ import annotations

import importlib
import os
import sys


def choose() -> None:
  """Makes `tf.keras` Keras 2, from the package tf-keras.

  TensorFlow reads the environment when `tf.keras` is first used. So this runs
  when `rigl_rl` is imported, before any module of it imports TensorFlow.

  Raises:
    ImportError: this process uses `tf.keras` of Keras 3 already.
  """
  os.environ['TF_USE_LEGACY_KERAS'] = '1'
  tensorflow = sys.modules.get('tensorflow')
  if tensorflow is None:
    return
  if not tensorflow.keras.Model.__module__.startswith('tf_keras'):
    raise ImportError(
      'rigl_rl needs Keras 2, and this process uses Keras '
      f'{tensorflow.keras.__version__} already: import rigl_rl before '
      'tensorflow, or set TF_USE_LEGACY_KERAS=1'
    )
  # TensorFlow has chosen Keras 3 for `import tensorflow.keras`, by which
  # TF-Agents would replace `tf.keras` later.
  keras = importlib.import_module('tf_keras.api._v2.keras')
  sys.modules['tensorflow.keras'] = keras
