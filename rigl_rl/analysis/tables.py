"""Run directories as two tables: a row an evaluation, and a row a run."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
from typing import Any, Iterator, Mapping

import numpy as np
import pandas as pd

from rigl_rl import readers
from rigl_rl.analysis import paths, run_config
from rigl_rl.training import scores

_CONFIG = 'config.gin'
_SWEEP = 'sweep.json'
_SUMMARY = 'summary.json'
_EVALUATIONS = 'evaluations.csv'

# What tells runs apart; in both tables.
RUN_COLUMNS = (
  'sweep',
  'label',
  'task',
  'agent',
  'network',
  'algorithm',
  'method',
  'sparsity',
  'size_sparsity',
  'distribution',
  'width',
  'seed',
  'scale',
  'directory',
)
# What else figures choose runs by; in the table of runs.
_CONFIG_COLUMNS = (
  'paper',
  'sparsity_bound',
  'train_steps',
  'batch_size',
  'weight_decay',
  'update_interval',
  'drop_fraction',
  'initializer',
  'keep_dense',
  'power',
  'budget',
  'observation_noise',
  'gradient_snr',
  'hard_targets',
  'initial_policy',
  'initial_policy_share',
  'swept',
  'fingerprint',
  'setting',
)
RESULT_COLUMNS = (
  'finished',
  'steps',
  'gradient_steps',
  'final_score',
  'learning_curve_area',
  'learning_curve_area_per_step',
  'parameters',
  'weights',
  'active_weights',
  'actor_share',
  'forward_flops',
  'training_flops',
  'training_flops_by_weights',
  'seconds',
)
# Text, in the table of runs: how far small dense networks are from the sizes
# they stand for; what a run was made with.
_TEXT_COLUMNS = ('size_mismatch', 'git_revision', 'versions')
# Of columns that would have none if there were no row, or only nan in it.
_KINDS = {
  **dict.fromkeys(
    (
      'sparsity',
      'size_sparsity',
      'scale',
      'weight_decay',
      'update_interval',
      'drop_fraction',
      'power',
      'budget',
      'observation_noise',
      'initial_policy_share',
      *RESULT_COLUMNS[2:],
      'return_mean',
      'return_std',
    ),
    float,
  ),
  **dict.fromkeys(
    ('sparsity_bound', 'gradient_snr', 'hard_targets', 'finished'), bool
  ),
  **dict.fromkeys(('steps', 'step', 'episodes'), int),
}
_EVALUATION_KINDS = {
  'step': int,
  'return_mean': float,
  'return_std': float,
  'episodes': int,
}
EVALUATION_COLUMNS = tuple(_EVALUATION_KINDS)


@dataclasses.dataclass(frozen=True)
class Results:
  """What `load` found. `evaluations, runs = load(DIR)` works as well.

  Attributes:
    evaluations: a row an evaluation, in order of runs and steps: RUN_COLUMNS,
      every swept binding as a column of its own name, and step, return_mean,
      return_std, episodes.
    runs: a row a run: the same columns of the run, and

      * paper, sparsity_bound, train_steps, batch_size, weight_decay,
        update_interval, drop_fraction, initializer, keep_dense, power, budget,
        observation_noise, gradient_snr, hard_targets, initial_policy: of its
        config, see `RunConfig.attributes`
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
      * size_mismatch: of each small dense network, the signed share of the size
        that it stands for: 'actor +0.05571, value +0.04911'; '' of others
      * forward_flops: of one example, all networks
      * training_flops: of the whole training, as `launch.cost` counts them
      * training_flops_by_weights: the same as Sokar et al. count
      * seconds: of training
      * git_revision, versions: it was made with; '' until it is finished

    problems: a row for each directory that cannot be read: directory, reason.
  """

  evaluations: pd.DataFrame
  runs: pd.DataFrame
  problems: pd.DataFrame

  def __iter__(self) -> Iterator[pd.DataFrame]:
    yield self.evaluations
    yield self.runs


def load(directory: str) -> Results:
  """Reads all run directories in a directory, and below it.

  A run directory holds a config.gin. One that a sweep made holds a sweep.json
  too; others are labelled by their method. Nothing is changed, and runs may
  still be going on.

  Args:
    directory: where to look; a path, or a URL that tf.io.gfile knows.

  Returns:
    The tables. They are empty, but have all columns, if there is no run.

  Raises:
    UserError: there is no such directory.
  """
  runs, evaluations, problems = [], [], []
  swept = {}
  for path, names in paths.walk(directory, lambda names: _CONFIG in names):
    if _CONFIG not in names:
      continue
    try:
      run, bindings, rows = _read_run(path, names)
    except readers.FileError as error:
      problems.append({'directory': path, 'reason': str(error)})
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
    runs=_table(
      runs,
      [*run_columns, *_CONFIG_COLUMNS, *RESULT_COLUMNS, *_TEXT_COLUMNS],
    ),
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

  # The directories may have been moved since, all together.
  def common(other):
    pairs = zip(
      reversed(run['initial_policy'].rstrip('/').split('/')),
      reversed(other['directory'].split('/')),
    )
    names = [a == b for a, b in pairs]
    return names.index(False) if False in names else len(names)

  best = max(runs, key=common)
  if not common(best) or sum(common(r) == common(best) for r in runs) > 1:
    return math.nan
  return (best['train_steps'] or math.nan) / run['train_steps']


def save(results: Results, directory: str) -> list[str]:
  """Writes the tables as CSV, and as Parquet if pyarrow is installed.

  Args:
    results: what `load` returned.
    directory: where to; made if need be.

  Returns:
    The paths of what was written: evaluations.csv, runs.csv, perhaps the same
    as .parquet, and problems.csv if there are any.

  Raises:
    UserError: the directory cannot be written to.
  """
  tables = {'evaluations': results.evaluations, 'runs': results.runs}
  if len(results.problems):
    tables['problems'] = results.problems
  written = []
  for name, table in tables.items():
    path = os.path.join(directory, f'{name}.csv')
    paths.write(path, to_csv(table).encode('utf-8'))
    written.append(path)
    data = _to_parquet(table)
    if data is not None:
      path = os.path.join(directory, f'{name}.parquet')
      paths.write(path, data)
      written.append(path)
  return written


def to_csv(table: pd.DataFrame) -> str:
  """Returns a table as CSV text, without its index.

  Numbers are the shortest text that reads back as the same bits (with pandas,
  by `float_precision='round_trip'`).
  """
  return table.to_csv(index=False, lineterminator='\n')


def _to_parquet(table: pd.DataFrame) -> bytes | None:
  try:
    import pyarrow  # noqa: F401
  except ImportError:
    return None
  # A binding may have values of several kinds; a Parquet column has one.
  table = table.copy()
  for name in table.columns:
    if table[name].dtype == object:
      kinds = {type(value) for value in table[name].dropna()}
      if len(kinds) > 1:
        table[name] = table[name].map(str, na_action='ignore')
  buffer = io.BytesIO()
  table.to_parquet(buffer, index=False, engine='pyarrow')
  return buffer.getvalue()


def _read_run(
  path: str, names: set[str]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
  """Reads a run directory: its row, its swept bindings, its evaluations.

  Raises:
    FileError: one of its files cannot be used.
  """
  text = readers.read_text(os.path.join(path, _CONFIG))
  with readers.contents_of(os.path.join(path, _CONFIG)):
    config = run_config.RunConfig(text)
    attributes = config.attributes()
  actor_period = attributes.pop('actor_period')
  rows = []
  if _EVALUATIONS in names:
    file = os.path.join(path, _EVALUATIONS)
    rows = readers.read_table(file, _EVALUATION_KINDS)
  run = {
    **attributes,
    'directory': path,
    'fingerprint': config.fingerprint(),
    'setting': config.setting(),
  }

  file = os.path.join(path, _SWEEP)
  sweep = readers.read_json(file) if _SWEEP in names else {}
  with readers.contents_of(file):
    bindings = _bindings(sweep)
    run.update(
      sweep=str(sweep.get('sweep', '')),
      label=str(sweep.get('label') or run['method']),
      scale=float(sweep.get('scale', 1.0)),
      swept=','.join(bindings),
    )
  # A method that is not ours is called what the sweep calls it.
  if run['algorithm'] not in run_config.ALGORITHMS and sweep.get('label'):
    run['method'] = run['label']

  file = os.path.join(path, _SUMMARY)
  summary = readers.read_json(file) if _SUMMARY in names else {}
  with readers.contents_of(file):
    run.update(_result(summary, rows, run, actor_period))
    versions = run_config.as_mapping(summary.get('versions'))
    run['git_revision'] = str(summary.get('git_revision') or '')
    run['versions'] = ', '.join(
      f'{package} {version}' for package, version in versions.items() if version
    )
    if math.isnan(run['sparsity']) and run['weights']:
      run['sparsity'] = 1 - run['active_weights'] / run['weights']
      if math.isnan(run['size_sparsity']) and run['width'] == '1':
        run['size_sparsity'] = run['sparsity']
    for name, kind in _KINDS.items():
      if kind is float and name in run:
        run[name] = float(run[name])
  return run, bindings, rows


def _bindings(sweep: Mapping[str, Any]) -> dict[str, Any]:
  """What a sweep varied, as columns; a column of ours keeps its meaning."""
  own = {*RUN_COLUMNS, *_CONFIG_COLUMNS, *RESULT_COLUMNS}
  own |= {*EVALUATION_COLUMNS, *_TEXT_COLUMNS}
  return {
    name: _plain(value)
    for name, value in run_config.as_mapping(sweep.get('bindings')).items()
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


def _result(
  summary: Mapping[str, Any],
  rows: list[dict[str, Any]],
  run: Mapping[str, Any],
  actor_period: int,
) -> dict[str, Any]:
  """The columns of a run's result."""
  finished = summary.get('finished') is True
  returns = [row['return_mean'] for row in rows]
  steps = rows[-1]['step'] if rows else 0

  def value(name):
    found = summary.get(name)
    return math.nan if found is None else float(found)

  result = {
    'finished': finished,
    'steps': steps,
    'gradient_steps': value('gradient_steps'),
    'final_score': math.nan,
    'learning_curve_area': math.nan,
    'learning_curve_area_per_step': math.nan,
    'parameters': value('parameters'),
    'actor_share': value('actor_share'),
    'size_mismatch': ', '.join(
      f'{name} {network["size_mismatch"]:+.4g}'
      for name, network in _networks(summary).items()
      if network.get('size_mismatch') is not None
    ),
    'seconds': value('seconds'),
    **_costs(summary, run, actor_period),
  }
  if finished:
    result['final_score'] = value('final_score')
    result['learning_curve_area'] = value('learning_curve_area')
    per_step = value('learning_curve_area_per_step')
    if math.isnan(per_step) and returns:  # Of an older summary.
      per_step = scores.learning_curve_area(returns, steps)
    result['learning_curve_area_per_step'] = per_step
  return result


def _networks(summary: Mapping[str, Any]) -> Mapping[str, Any]:
  """What a run's summary says of each network, by name."""
  networks = summary.get('networks')
  if networks is None:
    networks = {'online': summary} if 'layers' in summary else {}
  return networks


def _costs(
  summary: Mapping[str, Any], run: Mapping[str, Any], actor_period: int
) -> dict[str, float]:
  """Weights and FLOPs by a run's summary; nan where it has none."""
  networks = _networks(summary)
  if not networks:
    return dict.fromkeys(
      (
        'weights',
        'active_weights',
        'forward_flops',
        'training_flops',
        'training_flops_by_weights',
      ),
      math.nan,
    )
  active = {
    name: sum(layer['active_weights'] for layer in network['layers'].values())
    for name, network in networks.items()
  }
  weights = sum(
    math.prod(layer['kernel'])
    for network in networks.values()
    for layer in network['layers'].values()
  )
  # An actor that is trained every second step costs half as much.
  by_example = sum(
    network['training_flops'] / (actor_period if name == 'actor' else 1)
    for name, network in networks.items()
  )
  batch_size = run['batch_size'] or math.nan
  gradient_steps = summary.get('gradient_steps', math.nan)
  by_weights = math.nan
  if run['agent'] in ('SAC', 'TD3') and run['train_steps']:
    # As `counting.actor_critic_training_flops`, which needs TensorFlow.
    critics = sum(active.values()) - active['actor']
    by_weights = (
      6.0
      * (critics + active['actor'] / actor_period)
      * batch_size
      * run['train_steps']
    )
  return {
    'weights': weights,
    'active_weights': sum(active.values()),
    'forward_flops': float(
      np.sum([network['forward_flops'] for network in networks.values()])
    ),
    'training_flops': by_example * batch_size * gradient_steps,
    'training_flops_by_weights': by_weights,
  }
