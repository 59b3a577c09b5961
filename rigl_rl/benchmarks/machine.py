"""The machine that a benchmark runs on."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

# Runs in a process of its own: NumPy reads the number of threads at its import.
_MULTIPLY = """
import time
import numpy as np

size = 768
a = np.ones((size, size), np.float32)
out = np.empty_like(a)
best = float('inf')
for _ in range(20):
  begin = time.perf_counter()
  np.dot(a, a, out=out)
  best = min(best, time.perf_counter() - begin)
print(size**3 / best)
"""
_THREADS = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS')


def peak() -> float:
  """Measures float32 multiply-adds per second on one core.

  They are those of NumPy's product of two matrices that fit the caches: close
  to what the core can do, but not its theoretical peak.
  """
  done = subprocess.run(
    [sys.executable, '-c', _MULTIPLY],
    env={**os.environ, **dict.fromkeys(_THREADS, '1')},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return float(done.stdout)


def cores(arguments: argparse.Namespace) -> int:
  """Returns how many cores TensorFlow's threads can use at a time."""
  available = len(os.sched_getaffinity(0))
  threads = arguments.inter_op_threads * arguments.intra_op_threads
  return min(available, threads or available)
