"""Draws the learning curve of a run."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rigl_rl.training import scores


def draw_curve(
  history: Sequence[Mapping[str, Any]],
  title: str = '',
  returns: tuple[float, float] = (-math.inf, math.inf),
) -> bytes:
  """Draws mean return, one standard deviation, and the final score.

  Args:
    history: at least one evaluation: dicts of step, return_mean, return_std.
    title: one line above the curve.
    returns: the least and greatest return that the task has; the area of one
      standard deviation ends there.

  Returns:
    A PNG of 1050 × 600 pixels.
  """
  # Here, since a run that draws nothing should not wait for matplotlib. The
  # figure is built without pyplot, which is global state and looks for a
  # screen.
  from matplotlib import ticker
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  steps = np.array([row['step'] for row in history])
  mean = np.array([row['return_mean'] for row in history], dtype=float)
  std = np.array([row['return_std'] for row in history], dtype=float)
  score = scores.final_score(mean)
  color = '#1f5fa8'

  figure = Figure(figsize=(7, 4), dpi=150, layout='constrained')
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  axes.fill_between(
    steps,
    np.clip(mean - std, *returns),
    np.clip(mean + std, *returns),
    color=color,
    alpha=0.18,
    linewidth=0,
    label='± 1 std over episodes',
  )
  axes.plot(
    steps,
    mean,
    color=color,
    linewidth=1.6,
    label='mean return',
    # A curve of few points shows where they are; one point is no line.
    marker='o' if len(steps) <= 50 else '',
    markersize=3.2,
  )
  axes.axhline(
    score,
    color='#c8501e',
    linewidth=1.2,
    linestyle=(0, (5, 3)),
    label=f'final score {score:.5g} ({scores.describe_final_score()})',
  )
  axes.set_xlabel('training steps')
  axes.set_ylabel('return')
  axes.set_title(title, loc='left', fontsize=11)
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(_short_number))
  axes.margins(x=0.02)
  axes.grid(color='#d8d8d8', linewidth=0.6)
  axes.set_axisbelow(True)
  for side in ('top', 'right'):
    axes.spines[side].set_visible(False)
  figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  buffer = io.BytesIO()
  canvas.print_png(buffer)
  return buffer.getvalue()


def _short_number(value: float, _=None) -> str:
  """Ticks for steps: 20k, 2.5M."""
  for size, unit in ((1e6, 'M'), (1e3, 'k')):
    if abs(value) >= size:
      return f'{value / size:g}{unit}'
  return f'{value:g}'
