"""Return under observation noise: a line a method and size, a panel a game."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Sequence

import pandas as pd

from rigl_rl import files, readers, wording
from rigl_rl.analysis import pooling, statistics, tables
from rigl_rl.analysis.figures import base, comparable, selection, style

# What `launch.evaluate --observation_noise` leaves in a run directory.
FILE = 'observation_noise.csv'
# `step` is the checkpoint's; `asked_episodes` is empty where as many were
# played as in training.
COLUMNS = (
  'observation_noise',
  'return_mean',
  'return_std',
  'episodes',
  'step',
  'seed',
  'asked_episodes',
)
# By share of the parameters; the method's color and marker stay its own.
_LINES = ('-', (0, (5, 2)), (0, (1.2, 1.5)))


@dataclasses.dataclass(frozen=True)
class ReturnByNoise:
  """Figure 6 of Graesser et al.

  A run counts at the noises in its observation_noise.csv, of its last
  checkpoint alone; or, if it was trained with
  `DopamineRunner.evaluation_noise`, at that one by its final score. Which runs
  are drawn, `comparable` says: as many per line as `comparable_policies`.

  Attributes:
    games: in order.
    methods: that are compared; dense ones are of full width or small.
    densities: shares of the dense network's parameters, the largest first.
    train_steps: of the paper's runs.
  """

  games: tuple[str, ...]
  methods: tuple[str, ...]
  densities: tuple[float, ...]
  train_steps: int

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`."""
    progress = selection.Progress(options.planned.get(name))
    chosen = selection.select(
      results.runs,
      'DQN',
      'CNN',
      self.games,
      varied=('DopamineRunner.evaluation_noise', 'observation_noise'),
    )
    runs = chosen.runs
    is_dense = runs.method.isin(['Dense', 'Small dense'])
    runs = runs[
      runs.method.isin(self.methods)
      & (is_dense | (runs.distribution == 'erdos_renyi_kernel'))
    ]
    runs = runs.assign(
      density=(1 - runs.size_sparsity).round(6),
      curve=runs.method.replace({'Small dense': 'Dense'}),
    )
    runs = runs[selection.near(runs.density, self.densities)]
    finished = runs[runs.finished.astype(bool)]
    found = {run.directory: _read(run) for run in finished.itertuples()}
    evaluated = finished[[bool(found[d]) for d in finished.directory]]
    if not len(evaluated):
      reason = f'no finished run of DQN (CNN) on {", ".join(self.games)}'
      if len(finished):
        reason = f'no {FILE} in {wording.count(len(finished), "finished run")}'
      raise base.NothingToDraw(
        f'{reason}: python -m launch.evaluate --observation_noise=0,1,…,30'
      )
    count = options.comparable_policies
    candidates = comparable.candidates(evaluated, count)
    if not len(candidates):
      raise base.NothingToDraw(
        f'the returns without noise of {wording.count(len(evaluated), "run")} '
        'are not known: python -m launch.figures --comparable_policies=0'
      )
    policies, rule = comparable.choose(candidates, count)
    rows = [
      (*point, run.seed, score, run.policies)
      for run in policies.itertuples()
      for noise, score in found[run.directory]
      for point in [(run.task, run.curve, run.density, noise)]
    ]
    columns = [
      'game',
      'method',
      'density',
      'observation_noise',
      'seed',
      'score',
      'policies',
    ]
    scores = pd.DataFrame(rows, columns=columns)
    scores = scores.drop_duplicates(columns[:5])
    notes = [
      *chosen.notes,
      *pooling.differences(
        policies,
        comparable.LINE,
        ignore=('DopamineRunner.evaluation_noise',),
      ),
    ]
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
    progress.add(candidates, runs, notes)
    progress.add_length(runs, self.train_steps)
    points = []
    for keys, group in scores.groupby(columns[:4]):
      game, method, density, noise = keys
      estimate = statistics.mean(
        group.score,
        *(name, game, method, f'{density:g}', f'{noise:g}'),
        resamples=options.resamples,
      )
      points.append(
        {
          'game': game,
          'method': method,
          'density': density,
          'observation_noise': noise,
          'return_mean': estimate.value,
          'return_low': estimate.low,
          'return_high': estimate.high,
          'runs': estimate.runs,
          'seeds': ' '.join(str(seed) for seed in sorted(group.seed)),
          'policies': group.policies.iloc[0],
        }
      )
    data = pd.DataFrame(points)
    figure = _figure(self, title, data, [*progress.notes, rule])
    return base.Drawing(data, progress.notes, figure)


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
  if found:
    return found
  if run.observation_noise:
    return [(run.observation_noise, run.final_score)]
  return []


def _figure(
  spec: ReturnByNoise, title: str, data: pd.DataFrame, notes: Sequence[str]
) -> Any:
  lines: dict[str, Any] = {}
  with style.settings():
    figure, axes = style.grid(1, len(spec.games), panel=(3.1, 2.6))
    for cell, game in zip(axes.flat, spec.games):
      points = data[data.game == game]
      cell.set_title(game)
      cell.yaxis.set_major_formatter(style.short_number)
      if not len(points):
        style.say_empty(cell, 'no run evaluated under noise')
      for density, line in zip(spec.densities, _LINES):
        for method in style.ordered(points.method):
          own = points[
            (points.method == method)
            & ((points.density - density).abs() < 1e-6)
          ]
          if not len(own):
            continue
          look = style.of_method(method)
          cell.fill_between(
            own.observation_noise,
            own.return_low,
            own.return_high,
            color=look.color,
            alpha=0.08,
            linewidth=0,
          )
          (lines[f'{method}, {100 * density:g} %'],) = cell.plot(
            own.observation_noise,
            own.return_mean,
            color=look.color,
            linestyle=line,
            marker=look.marker,
            markevery=max(len(own) // 8, 1),
            markersize=4.5,
            # Hollow where networks are smaller.
            markerfacecolor=look.color if density == 1 else 'white',
          )
    style.label_y(axes, 'return')
    style.label_x(axes, 'standard deviation of noise in gray levels')
    sizes = "Percentages are of the full network's parameters."
    intervals = style.intervals(style.SHADED, data.runs)
    style.add_header(figure, title, [*notes, sizes, intervals])
    order = [
      f'{method}, {100 * density:g} %'
      for density in spec.densities
      for method in style.ordered(data.method)
    ]
    style.add_legend(
      figure, {label: lines[label] for label in order if label in lines}
    )
  return figure
