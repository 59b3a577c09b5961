"""Sweeps: the runs behind a figure or table, as a gin file lists them.

`load(file)` reads one. Nothing here imports TensorFlow, an agent or training,
so that listing thousands of runs takes at most a second.
"""

from rigl_rl.sweeps.definition import Sweep as Sweep
from rigl_rl.sweeps.definition import load as load
from rigl_rl.sweeps.runs import Run as Run
