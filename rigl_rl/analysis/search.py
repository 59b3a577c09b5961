"""Winners of a search of hyper-parameters (Graesser et al., 2022, A.3).

The appendix: "Best hyper-parameters found in these environments are then used
when training in other similar environments", for each method by itself. It does
not define the best; section 3 ranks all results by the return averaged over the
last 10 % of evaluations, and over seeds. Over several games (the ResNet's
search, which names none) the score is the mean of human-normalized scores, so
that each game counts the same.
"""

from __future__ import annotations

import math
import os
from typing import Any, Sequence

import pandas as pd

from rigl_rl import sweeps, wording
from rigl_rl.analysis import normalization, pooling, tables
from rigl_rl.tasks import TASK_MACROS

# What is said of a setting, behind its method and its values.
COLUMNS = ('score', 'score_std', 'runs', 'planned', 'winner', 'in_paper')
_WORDS = {'interval': 'update interval', 'initializer': 'initialization'}


def is_search(sweep: sweeps.Sweep) -> bool:
  """Whether a sweep varies anything but task, sparsity and seed."""
  return bool(_parameters(sweep.runs()))


def parameter_title(name: str) -> str:
  """Returns 'drop fraction' of 'RigL.drop_fraction'."""
  word = name.rpartition('.')[2].lower().replace('_', ' ')
  return _WORDS.get(word, word)


def settings(
  sweep: sweeps.Sweep, results: tables.Results, base_dir: str
) -> pd.DataFrame:
  """Returns a row for each setting of a search, the best of a method first.

  A method's winner is the setting of the highest score among those with the
  most finished runs, since one lucky run proves nothing. Of settings that are
  equally good it is the first by the sweep file.

  Args:
    sweep: of the search.
    results: what `load` found in the base directory.
    base_dir: of launch.sweep.

  Returns:
    A table: method; the values, by titles such as 'weight decay', nan where a
    method has no such thing; and

    * score: mean over tasks of the mean over seeds of the final score; of
      several games normalized by human play; nan unless each task has a
      finished run
    * score_std: over all runs, the population standard deviation
    * runs: finished; planned: all of the sweep
    * winner: whether it is the method's
    * in_paper: whether it is the one of the paper's tables, as the gin files
      have it
  """
  runs = sweep.runs()
  names = _parameters(runs)
  keys = ['method', *dict.fromkeys(map(parameter_title, names))]
  scores = _by_directory(results, base_dir).final_score
  rows = []
  for run in runs:
    used = [name for name in names if name in run.values]
    values = {parameter_title(name): _shown(run.values[name]) for name in used}
    rows.append(
      {
        **dict.fromkeys(keys, math.nan),
        'method': run.label,
        **values,
        'task': next(filter(None, map(run.values.get, TASK_MACROS)), ''),
        'score': scores.get(run.directory, math.nan),
        # What the gin files have is not bound again.
        'in_paper': not set(names) & set(run.bindings),
      }
    )
  planned = pd.DataFrame(rows)
  if planned.task.nunique() > 1:
    pairs = zip(planned.score, planned.task)
    planned['score'] = [normalization.human_normalized(*pair) for pair in pairs]
  found = []
  for values, own in planned.groupby(keys, sort=False, dropna=False):
    means = own.groupby('task', sort=False).score.apply(lambda s: s.mean())
    row = *values, means.mean(skipna=False), own.score.std(ddof=0)
    counts = own.score.count(), len(own)
    found.append((*row, *counts, False, own.in_paper.iloc[0]))
  table = pd.DataFrame(found, columns=[*keys, *COLUMNS])
  parts = [_ranked(own) for _, own in table.groupby('method', sort=False)]
  return pd.concat(parts, ignore_index=True)


def _ranked(own: pd.DataFrame) -> pd.DataFrame:
  """A method's settings, the best first, and its winner marked."""
  own = own.sort_values('score', ascending=False, kind='stable')
  scored = own[own.score.notna()]
  if len(scored):
    best = scored[scored.runs == scored.runs.max()].index[0]
    own.loc[best, 'winner'] = True
  return own


def notes(
  sweep: sweeps.Sweep, results: tables.Results, base_dir: str
) -> list[str]:
  """Returns what a reader must know of a table of `settings`, in sentences."""
  runs = sweep.runs()
  points = pd.Series(
    {
      run.directory: repr((run.label, sorted(run.values.items())))
      for run in runs
    }
  )
  own = _by_directory(results, base_dir)
  own = own[own.index.isin(points.index) & own.finished]
  done = own.final_score.notna().sum()
  found = [f'{done:,} of {wording.count(len(runs), "run")} finished.']
  if done < len(runs):
    found.append('Winners are of what there is.')
  found += pooling.differences(
    own.assign(point=points.reindex(own.index)), ['point']
  )
  scales = sorted(set(own.scale))
  if scales and scales != [1.0]:
    shares = ', '.join(f'{100 * scale:g} %' for scale in scales)
    found.append(f'Runs are of {shares} of the training steps.')
  return found


def _parameters(runs: Sequence[sweeps.Run]) -> list[str]:
  """Names what differs between runs of a method, except tasks."""
  seen: dict[tuple[str, str], dict[str, None]] = {}
  for run in runs:
    for name, value in run.values.items():
      # What a run is trained on is no setting of it.
      if name not in (*TASK_MACROS, 'SPARSITY'):
        seen.setdefault((run.label, name), {})[repr(value)] = None
  varied = dict.fromkeys(
    name for (_, name), values in seen.items() if len(values) > 1
  )
  # As the appendix has them: weight decay first, initialization last.
  order = ('WEIGHT_DECAY', 'learning_rate', 'interval', 'drop_fraction')
  ranks = {word: rank for rank, word in enumerate(order)}
  return sorted(
    varied, key=lambda name: ranks.get(name.rpartition('.')[2], len(ranks))
  )


def _shown(value: Any) -> Any:
  return value.strip('@') if isinstance(value, str) else value


def _by_directory(results: tables.Results, base_dir: str) -> pd.DataFrame:
  """The table of runs, indexed by directories within the base directory."""
  base_dir = os.path.expanduser(base_dir)
  paths = (os.path.relpath(d, base_dir) for d in results.runs.directory)
  return results.runs.set_axis([p.replace(os.sep, '/') for p in paths])
