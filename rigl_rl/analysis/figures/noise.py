"""Return under observation noise: one panel per game.

"We made an effort to select policies with comparable performance for all the
methods, chosen from the set of all policies trained during this work." The
paper has no rule. Here, for each game and a number N of policies, the level is
what every line can reach: the lowest of the lines' means of their N best. Each
line shows its N policies that are nearest to the level.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping

import pandas as pd

from rigl_rl import files, readers, wording
from rigl_rl.analysis import pooling
from rigl_rl.analysis.figures import base, selection, style

# What `launch.evaluate --observation_noise` leaves in a run directory.
FILE = 'observation_noise.csv'
_COLUMNS = {
  'observation_noise': float,
  'return_mean': float,
  'return_std': float,
  'episodes': int,
}
# Added later. `step` is the checkpoint's; `asked_episodes` is empty where as
# many were played as in training.
_ADDED = ('step', 'seed', 'asked_episodes')
COLUMNS = (*_COLUMNS, *_ADDED)
_VARIED = ('DopamineRunner.evaluation_noise', 'observation_noise')
# What makes a line of the figure; a panel is a task.
_LINE = ['task', 'curve', 'density']
# By share of the parameters; the method's color and marker stay its own.
_DASHES = ('-', (0, (5, 2)), (0, (1.2, 1.5)))


@dataclasses.dataclass(frozen=True)
class ReturnByNoise(base.Kind):
  """Figure 6 of Graesser et al.

  A run counts at the noises in its observation_noise.csv, of its last
  checkpoint only; or, if it was trained with
  `DopamineRunner.evaluation_noise`, at that one by its final score. As many are
  drawn per line as `Options.comparable_policies`.
  """

  games: tuple[str, ...]
  methods: tuple[str, ...]  # That are compared; full width or small, if dense.
  # Shares of the dense network's parameters, the largest first.
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
    candidates = _candidates(evaluated, count)
    if not len(candidates):
      raise base.NothingToDraw(
        f'the returns without noise of {wording.count(len(evaluated), "run")} '
        'are not known: python -m launch.figures --comparable_policies=0'
      )
    policies, rule = _choose(candidates, count)
    notes = pooling.differences(policies, _LINE, ignore=_VARIED)
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
    for density, line in zip(self.densities, _DASHES):
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


def _candidates(runs: pd.DataFrame, count: int) -> pd.DataFrame:
  """Returns the runs that can be chosen: all if `count` is 0.

  Otherwise those whose final score has no noise, one per line and seed.
  """
  if not count:
    return runs
  return runs[runs.observation_noise == 0].drop_duplicates([*_LINE, 'seed'])


def _choose(runs: pd.DataFrame, count: int) -> tuple[pd.DataFrame, str]:
  """Chooses policies among `_candidates`, `count` per line, 0 for all.

  Returns:
    The chosen runs, with a column `policies` that says how they were chosen,
    and the rule in words, with what came out for each task.
  """
  if not count:
    return runs.assign(policies='all'), (
      'All policies; the paper selects some of comparable performance.'
    )
  by_line = runs.sort_values('final_score', ascending=False).groupby(_LINE)
  best = by_line.head(count).groupby(_LINE).final_score.mean()
  level = runs.task.map(best.groupby('task').min())
  offered = runs.groupby(_LINE).seed.transform('size')
  chosen = runs.assign(
    distance=(runs.final_score - level).abs(),
    policies=[
      f'{min(count, n)} of {n}, nearest to {_score(score)}'
      for n, score in zip(offered, level)
    ],
  )
  chosen = chosen.sort_values('distance', kind='stable')
  chosen = chosen.groupby(_LINE).head(count).sort_index()
  means = chosen.groupby(_LINE).final_score.mean().groupby('task')
  found = ', '.join(
    f'{task} {_score(best[task].min())} (lines: {_score(of_task.min())} to '
    f'{_score(of_task.max())})'
    for task, of_task in means
  )
  return chosen, (
    'Policies of comparable performance: of each line those '
    f'{count} whose final scores are nearest to the lowest of the '
    f"lines' means of their {count} best: {found}."
  )


def _score(value: float) -> str:
  return style.setting(round(value, 1))


def read_rows(path: str) -> list[dict[str, Any]]:
  """Returns the rows of an observation_noise.csv; none if there is no file.

  Raises:
    FileError: the file cannot be used.
  """
  if not files.exists(path):
    return []
  return readers.read_table(path, _COLUMNS, optional=_ADDED)


def _read(run: Any) -> list[tuple[float, float]]:
  """Noise and score of a finished run's evaluations."""
  found = [
    (row['observation_noise'], row['return_mean'])
    for row in read_rows(os.path.join(run.directory, FILE))
    # Evaluated while it was still being trained, it was another policy.
    if row.get('step', str(run.steps)) == str(run.steps)
  ]
  if run.observation_noise and not found:
    return [(run.observation_noise, run.final_score)]
  return found
