"""Run directories as two tables: one row per evaluation, one row per run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from typing import Any, Iterator, Mapping

import pandas as pd

from rigl_rl import files, readers
from rigl_rl.training import attributes, paths, scores
from rigl_rl.training import record as record_lib

_SWEEP = 'sweep.json'

# What tells runs apart; in both tables.
RUN_COLUMNS = (
  *('sweep', 'label', 'task', 'agent', 'network', 'algorithm', 'method'),
  *('sparsity', 'size_sparsity', 'distribution', 'width', 'seed', 'scale'),
  'directory',
)
_SIZES = (
  *('weights', 'active_weights', 'forward_flops', 'training_flops'),
  'training_flops_by_weights',
)
_AREA = 'learning_curve_area'
_SCORES = ('final_score', _AREA, f'{_AREA}_per_step')
_MEASURES = ('gradient_steps', 'parameters', 'actor_share', 'seconds')
RESULT_COLUMNS = ('finished', 'steps', *_SCORES, *_MEASURES, *_SIZES)
# Behind the swept bindings in the table of runs.
_MORE_COLUMNS = (
  *(name for name in attributes.FIELDS if name not in RUN_COLUMNS),
  *('initial_policy_share', 'swept', 'fingerprint', 'setting'),
  *(*RESULT_COLUMNS, 'size_mismatch', 'git_revision', 'versions'),
)
# Of columns that would have none if there were no row, or only nan in it.
_KINDS = {
  **{
    name: kind
    for name, kind in attributes.FIELDS.items()
    # Batch sizes are whole numbers, and written so where all runs have one.
    if kind in (float, bool) and name != 'batch_size'
  },
  **dict.fromkeys(('scale', 'initial_policy_share'), float),
  **dict.fromkeys(RESULT_COLUMNS, float),
  **record_lib.EVALUATION_COLUMNS,
  'finished': bool,
  'steps': int,
}
EVALUATION_COLUMNS = tuple(record_lib.EVALUATION_COLUMNS)


@dataclasses.dataclass(frozen=True)
class Results:
  """What `load` found. `evaluations, runs = load(DIR)` works as well.

  Attributes:
    evaluations: one row per evaluation, in order of runs and steps:
      RUN_COLUMNS, every swept binding as a column of its own name, and step,
      return_mean, return_std, episodes.
    runs: one row per run: the same columns of the run, and

      * the other fields of what the run is, see `attributes.describe`
      * initial_policy_share: steps of the run that `initial_policy` names, by
        its own steps; nan if that run is not among these
      * swept: names of the bindings its sweep varies, by commas
      * fingerprint: equal for equal configs
      * setting: equal for runs that differ in their seed only
      * finished: whether it came to its end; steps: of its last evaluation
      * gradient_steps: taken
      * final_score: by the run's own rule; nan until it is finished
      * learning_curve_area: mean return over training; .._per_step: in the unit
        of table 2 of Sokar et al.; nan until it is finished
      * parameters: active weights and biases of all networks that are trained
      * weights: of them without biases, inactive ones too; active_weights
      * actor_share: the actor's of the parameters
      * size_mismatch: of each small dense network, as a signed share of its
        target size: 'actor +0.05571, value +0.04911'; '' of others
      * forward_flops: of one example, all networks
      * training_flops: of the whole training, as `launch.cost` counts them
      * training_flops_by_weights: the same as Sokar et al. count
      * seconds: of training
      * git_revision, versions: it was made with

    problems: one row per directory that was left out: directory, reason.
  """

  evaluations: pd.DataFrame
  runs: pd.DataFrame
  problems: pd.DataFrame

  def __iter__(self) -> Iterator[pd.DataFrame]:
    yield self.evaluations
    yield self.runs


def load(
  *directories: str, flag: str = '--results', smoke: bool = False
) -> Results:
  """Reads all run directories in some directories, and below them.

  A run directory holds a config.gin. One that a sweep made holds a sweep.json
  too; others are labelled by their method. Nothing is changed, and runs may
  still be going on.

  Args:
    *directories: where to look; paths, or URLs that tf.io.gfile knows.
    flag: of the command, which they come from.
    smoke: whether to include smoke runs, whose scores mean nothing; otherwise
      they are among the problems.

  Returns:
    The tables. They are empty, but have all columns, if there is no run.

  Raises:
    UserError: there is no such directory.
  """
  runs, evaluations, problems = [], [], []
  swept = {}
  found = (path for each in directories for path in paths.find_runs(each, flag))
  for path in dict.fromkeys(found):
    try:
      run, bindings, rows = _read_run(path)
    except readers.FileError as error:
      problems.append({'directory': path, 'reason': str(error)})
      continue
    if run['smoke'] and not smoke:
      problems.append({'directory': path, 'reason': 'a smoke run'})
      continue
    swept.update(dict.fromkeys(bindings))
    runs.append({**run, **bindings})
    shared = {name: run[name] for name in RUN_COLUMNS}
    evaluations += [{**shared, **bindings, **row} for row in rows]
  for run in runs:
    run['initial_policy_share'] = _policy_share(run, runs)
  # Bindings come behind what every table has.
  run_columns = (*RUN_COLUMNS, *swept)
  return Results(
    evaluations=_table(evaluations, [*run_columns, *EVALUATION_COLUMNS]),
    runs=_table(runs, [*run_columns, *_MORE_COLUMNS]),
    problems=pd.DataFrame(problems, columns=['directory', 'reason']),
  )


def _table(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
  """A table whose columns have their kinds, also where there is no row."""
  table = pd.DataFrame(rows, columns=columns)
  return table.astype(
    {name: kind for name, kind in _KINDS.items() if name in columns}
  )


def _policy_share(run: Mapping[str, Any], runs: list[dict[str, Any]]) -> float:
  """How long the run was trained whose policy a run begins with."""
  if not run['initial_policy'] or not run['train_steps']:
    return math.nan
  wanted = run['initial_policy'].rstrip('/').split('/')[::-1]

  # The directories may have been moved since, all together.
  def common(other):
    directory = other['directory'].split('/')[::-1]
    return len(os.path.commonprefix([wanted, directory]))

  *_, second, best = sorted([{'directory': ''}, *runs], key=common)
  if common(best) == common(second):
    return math.nan
  return (best['train_steps'] or math.nan) / run['train_steps']


def save(results: Results, directory: str) -> list[str]:
  """Writes the tables as CSV.

  Args:
    results: what `load` returned.
    directory: where to; made if missing.

  Returns:
    The paths of what was written: evaluations.csv, runs.csv, and problems.csv
    if there are any.

  Raises:
    UserError: the directory cannot be written to.
  """
  written = []
  for name, table in vars(results).items():
    if len(table) or name != 'problems':
      written.append(os.path.join(directory, f'{name}.csv'))
      paths.write(written[-1], to_csv(table))
  return written


def to_csv(table: pd.DataFrame) -> str:
  """Returns a table as CSV text, without its index.

  Numbers are the shortest text that reads back as the same bits (with pandas,
  by `float_precision='round_trip'`).
  """
  return table.to_csv(index=False, lineterminator='\n')


def _read_run(
  path: str,
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
  """Reads a run directory: its row, its swept bindings, its evaluations.

  Raises:
    FileError: one of its files cannot be used.
  """
  record = record_lib.read(path)
  rows = record_lib.read_evaluations(path)
  versions = record_lib.versions(record)
  run = {
    **{name: record[name] for name in attributes.FIELDS},
    'directory': path,
    'fingerprint': _digest(record['bindings']),
    'setting': _digest(record_lib.settings(record)),
    'versions': ', '.join(map(' '.join, versions.items())),
    'git_revision': ' then '.join(
      made['git_revision'] or 'unknown' for made in record['made_with']
    ),
    'steps': rows[-1]['step'] if rows else 0,
  }
  if run['batch_size'].is_integer():
    run['batch_size'] = int(run['batch_size'])
  with _optional(path, _SWEEP) as sweep:
    bindings = _bindings(sweep)
    run.update(
      sweep=str(sweep.get('sweep', '')),
      label=str(sweep.get('label') or run['method']),
      scale=float(sweep.get('scale', 1.0)),
      swept=','.join(bindings),
    )
  # A method that is not ours is called what the sweep calls it.
  if run['algorithm'] not in attributes.ALGORITHMS and sweep.get('label'):
    run['method'] = run['label']
  with _optional(path, record_lib.SUMMARY) as summary:
    found = {**record, **summary}
    run['finished'] = found.get('finished') is True
    for name in (*_SCORES, *_MEASURES):
      run[name] = float(math.nan if found.get(name) is None else found[name])
    per_step = f'{_AREA}_per_step'
    if not run['finished']:
      run.update(dict.fromkeys(_SCORES, math.nan))
    elif math.isnan(run[per_step]) and rows:  # An older summary.
      returns = [row['return_mean'] for row in rows]
      run[per_step] = scores.learning_curve_area(returns, run['steps'])
    run.update(_sizes(record, summary, run['gradient_steps']))
    if math.isnan(run['sparsity']) and run['weights']:
      run['sparsity'] = 1 - run['active_weights'] / run['weights']
      if math.isnan(run['size_sparsity']) and run['width'] == '1':
        run['size_sparsity'] = run['sparsity']
  return run, bindings, rows


@contextlib.contextmanager
def _optional(directory: str, name: str) -> Iterator[dict[str, Any]]:
  """Surrounds what depends on a JSON file; {} if there is none."""
  path = os.path.join(directory, name)
  with readers.contents_of(path):
    yield readers.read_json(path) if files.exists(path) else {}


def _digest(bindings: Mapping[str, str]) -> str:
  """Returns what equal bindings have in common: 12 hexadecimal digits."""
  text = repr(sorted(bindings.items()))
  return hashlib.sha256(text.encode('utf-8')).hexdigest()[:12]


def _bindings(sweep: Mapping[str, Any]) -> dict[str, Any]:
  """What a sweep varied, as columns; a column of ours keeps its meaning."""
  own = {*RUN_COLUMNS, *_MORE_COLUMNS, *EVALUATION_COLUMNS}
  return {
    name: _plain(value)
    for name, value in dict(sweep.get('bindings') or {}).items()
    if name not in own
  }


def _plain(value: Any) -> Any:
  """A swept value as one cell: gin's quotes and marks taken off."""
  if isinstance(value, str):
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':
      return text[1:-1]
    return text.lstrip('@')
  if isinstance(value, (list, tuple, dict)):
    return json.dumps(value)
  return value


def _sizes(
  record: Mapping[str, Any], results: Mapping[str, Any], gradient_steps: float
) -> dict[str, Any]:
  """Weights and FLOPs of all networks, if it is finished as they then are."""
  networks = {
    name: {**network, **results.get('networks', {}).get(name, {})}
    for name, network in record['networks'].items()
  }
  record_lib.check_networks(networks)
  if not networks:
    return {**dict.fromkeys(_SIZES, math.nan), 'size_mismatch': ''}
  layers = {name: n['layers'].values() for name, n in networks.items()}
  active = {
    name: sum(layer['active_weights'] for layer in own)
    for name, own in layers.items()
  }
  # What is trained every second step costs half as much.
  by_example = sum(n['training_flops'] / n['period'] for n in networks.values())
  by_weights = math.nan
  if record['agent'] in ('SAC', 'TD3'):
    # As `counting.actor_critic_training_flops`, which needs TensorFlow.
    weights = sum(active[name] / n['period'] for name, n in networks.items())
    by_weights = 6.0 * weights * record['batch_size'] * record['train_steps']
  return {
    'weights': float(
      sum(
        math.prod(layer['kernel']) for own in layers.values() for layer in own
      )
    ),
    'active_weights': sum(active.values()),
    'forward_flops': sum(n['forward_flops'] for n in networks.values()),
    'training_flops': by_example * record['batch_size'] * gradient_steps,
    'training_flops_by_weights': by_weights,
    'size_mismatch': ', '.join(
      f'{name} {network["size_mismatch"]:+.4g}'
      for name, network in networks.items()
      if network['size_mismatch'] is not None
    ),
  }
