"""Return under observation noise: one panel per game."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping

import pandas as pd

from rigl_rl import files, readers, wording
from rigl_rl.analysis import pooling
from rigl_rl.analysis.figures import base, comparable, selection, style

# What `launch.evaluate --observation_noise` leaves in a run directory.
FILE = 'observation_noise.csv'
# `step` is the checkpoint's; `asked_episodes` is empty where as many were
# played as in training.
COLUMNS = (
  *('observation_noise', 'return_mean', 'return_std', 'episodes'),
  *('step', 'seed', 'asked_episodes'),
)
_VARIED = ('DopamineRunner.evaluation_noise', 'observation_noise')
# By share of the parameters; the method's color and marker stay its own.
_LINES = ('-', (0, (5, 2)), (0, (1.2, 1.5)))


@dataclasses.dataclass(frozen=True)
class ReturnByNoise(base.Kind):
  """Figure 6 of Graesser et al.

  A run counts at the noises in its observation_noise.csv, of its last
  checkpoint only; or, if it was trained with
  `DopamineRunner.evaluation_noise`, at that one by its final score. Which runs
  are drawn, `comparable` says: as many per line as `comparable_policies`.

  Attributes:
    games: in order.
    methods: that are compared; dense ones are of full width or small.
    densities: shares of the dense network's parameters, the largest first.
  """

  games: tuple[str, ...]
  methods: tuple[str, ...]
  densities: tuple[float, ...]

  x_label = 'standard deviation of noise in gray levels'
  y_label = 'return'
  empty = 'no run evaluated under noise'
  grid = {'panel': (3.1, 2.6)}

  def find(self, request):
    runs = request.select(
      *('DQN', 'CNN', self.games),
      varied=_VARIED,
      distribution=selection.ERK,
      methods=self.methods,
    )
    runs = runs.assign(
      density=(1 - runs.size_sparsity).round(6),
      curve=runs.method.replace({'Small dense': 'Dense'}),
    )
    runs = runs[selection.near(runs.density, self.densities)]
    finished = runs[runs.finished]
    found = {run.directory: _read(run) for run in finished.itertuples()}
    evaluated = finished[[bool(found[d]) for d in finished.directory]]
    if not len(evaluated):
      reason = f'no finished run of DQN (CNN) on {", ".join(self.games)}'
      if len(finished):
        reason = f'no {FILE} in {wording.count(len(finished), "finished run")}'
      raise base.NothingToDraw(
        f'{reason}: python -m launch.evaluate --observation_noise=0,1,…,30'
      )
    count = request.options.comparable_policies
    candidates = comparable.candidates(evaluated, count)
    if not len(candidates):
      raise base.NothingToDraw(
        f'the returns without noise of {wording.count(len(evaluated), "run")} '
        'are not known: python -m launch.figures --comparable_policies=0'
      )
    policies, rule = comparable.choose(candidates, count)
    notes = pooling.differences(policies, comparable.LINE, ignore=_VARIED)
    for missing, what in (
      (len(finished) - len(evaluated), 'not evaluated under noise'),
      (
        len(evaluated) - len(candidates),
        'evaluated only under noise, and left out',
      ),
    ):
      if missing:
        verb = 'is' if missing == 1 else 'are'
        notes.append(f'{wording.count(missing, "run")} {verb} {what}.')
    request.add(candidates, runs, notes)
    data = _points(policies, found, request)
    methods = style.ordered(data.method)
    return base.Found(
      data,
      [base.Cell(game, data[data.game == game]) for game in self.games],
      legend=[_label(m, d) for d in self.densities for m in methods],
      face_notes=[rule, "Percentages are of the full network's parameters."],
    )

  def draw_panel(self, axes, cell):
    axes.yaxis.set_major_formatter(style.short_number)
    points = cell.points
    for density, line in zip(self.densities, _LINES):
      of_density = points[selection.near(points.density, [density])]
      for method in style.ordered(of_density.method):
        own = of_density[of_density.method == method]
        look = style.of_method(method)._replace(line=line)
        x = own.observation_noise
        base.shade(axes, x, own, look.color, alpha=0.08)
        # Hollow where networks are smaller.
        face = look.color if density == 1 else 'white'
        base.curve(
          *(axes, x, own.return_mean, look),
          marks=8,
          markerfacecolor=face,
          label=_label(method, density),
        )


def _label(method: str, density: float) -> str:
  return f'{method}, {100 * density:g} %'


def _points(
  policies: pd.DataFrame,
  found: Mapping[str, list[tuple[float, float]]],
  request: base.Request,
) -> pd.DataFrame:
  """A row per game, method, density and noise."""
  keys = ['game', 'method', 'density', 'observation_noise']
  scores = pd.DataFrame(
    [
      (run.task, run.curve, run.density, noise, run.seed, score, run.policies)
      for run in policies.itertuples()
      for noise, score in found[run.directory]
    ],
    columns=[*keys, 'seed', 'score', 'policies'],
  )
  points = []
  for values, group in scores.drop_duplicates([*keys, 'seed']).groupby(keys):
    stream = [v if isinstance(v, str) else f'{v:g}' for v in values]
    point = dict(zip(keys, values))
    point |= request.estimate(group, *stream, score='score')
    points.append({**point, 'policies': group.policies.iloc[0]})
  return pd.DataFrame(points)


def read_rows(path: str) -> list[dict[str, str]]:
  """Returns the rows of an observation_noise.csv; none if there is no file.

  Raises:
    FileError: the file cannot be used.
  """
  if not files.exists(path):
    return []
  rows = readers.read_table(
    path, dict.fromkeys(COLUMNS[:4], str), optional=COLUMNS[4:]
  )
  with readers.contents_of(path):
    for row in rows:
      for name in COLUMNS[:3]:
        float(row[name])
      int(row['episodes'])
  return rows


def _read(run: Any) -> list[tuple[float, float]]:
  """Noise and score of a finished run's evaluations."""
  rows = read_rows(os.path.join(run.directory, FILE))
  found = [
    (float(row['observation_noise']), float(row['return_mean']))
    for row in rows
    # Evaluated while it was still being trained, it was another policy.
    if row.get('step', str(run.steps)) == str(run.steps)
  ]
  if run.observation_noise and not found:
    return [(run.observation_noise, run.final_score)]
  return found
