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
  # Imported here: a run that draws nothing should not wait for matplotlib. The
  # figure is built without pyplot, which is global state and looks for a
  # screen.
  from matplotlib import ticker
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  names = ('step', 'return_mean', 'return_std')
  steps, mean, std = np.transpose([[row[n] for n in names] for row in history])
  score = scores.final_score(mean)
  color = '#1f5fa8'
  figure = Figure(figsize=(7, 4), dpi=150, layout='constrained')
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  label = '± 1 std over episodes'
  band = {'color': color, 'alpha': 0.18, 'linewidth': 0, 'label': label}
  low, high = (np.clip(mean + s, *returns) for s in (-std, std))
  axes.fill_between(steps, low, high, **band)
  # A curve of few points shows where they are; one point is no line.
  marker = 'o' if len(steps) <= 50 else ''
  line = {'color': color, 'linewidth': 1.6, 'marker': marker, 'markersize': 3.2}
  axes.plot(steps, mean, label='mean return', **line)
  label = f'final score {score:.5g} ({scores.describe_final_score()})'
  dashes = {'color': '#c8501e', 'linewidth': 1.2, 'linestyle': (0, (5, 3))}
  axes.axhline(score, label=label, **dashes)
  axes.set(xlabel='training steps', ylabel='return', axisbelow=True)
  axes.set_title(title, loc='left', fontsize=11)
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  axes.margins(x=0.02)
  axes.grid(color='#d8d8d8', linewidth=0.6)
  axes.spines[['top', 'right']].set_visible(False)
  figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  buffer = io.BytesIO()
  canvas.print_png(buffer)
  return buffer.getvalue()
