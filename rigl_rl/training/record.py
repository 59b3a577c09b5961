"""run.json, which says what a run is, written before it trains.

The run's results are in summary.json.
"""

from __future__ import annotations

import ast
import contextlib
import json
import logging
import math
import os
from typing import Any, Mapping

import numpy as np

from rigl_rl import files, readers
from rigl_rl.config.gin_text import Config
from rigl_rl.errors import UserError
from rigl_rl.training import attributes, provenance

_LOGGER = logging.getLogger(__name__)

RECORD = 'run.json'
CONFIG = 'config.gin'
OPERATIVE_CONFIG = 'operative_config.gin'
EVALUATIONS = 'evaluations.csv'
SUMMARY = 'summary.json'
EVALUATION_COLUMNS = {
  'step': int,
  'return_mean': float,
  'return_std': float,
  'episodes': int,
}
_NETWORK = {
  **dict.fromkeys(('parameters', 'forward_flops', 'training_flops'), float),
  'size_mismatch': float,
  'period': int,
}
# How an operative_config.gin begins that an earlier version wrote.
_ORIGIN = '# Modules were imported from the current directory, '
# Bindings that may differ between runs of one setting. With each seed, another
# run's policy fills the replay buffer; figures compare how long it was trained.
_NOT_SETTINGS = ('train.seed', 'train.paper', 'saved_policy.run')
# Of TF-Agents' agents, as gin recorded them in earlier versions.
_DEFAULTS_BEFORE = {
  'PPOClipAgent.reward_norm_clipping': '10.0',
  'SacAgent.target_critic_network': 'None',
  'SacAgent.target_critic_network_2': 'None',
  'Td3Agent.target_actor_network': 'None',
  'Td3Agent.target_critic_network': 'None',
  'Td3Agent.target_critic_network_2': 'None',
}
# Bindings that an extension changes.
LENGTH, EXTENDED = 'train.train_steps', 'train.extended'
# Parameters of any class that do not change what is learned.
_WITHOUT_EFFECT = (
  'checkpoint_period',
  'evaluation_processes',
  'summarize_gradient_snr',
)


def settings(record: Mapping[str, Any]) -> dict[str, str]:
  """Returns what decides a run's results, except its seed, as {binding: value}.

  Bindings of masks are left out in a dense run, and those of mask updates where
  masks never change.
  """
  ignored = {*_WITHOUT_EFFECT, *_NOT_SETTINGS}
  if record['algorithm'] in ('Dense', 'Static'):
    ignored.add('UpdateSchedule')
  if record['algorithm'] == 'Dense':
    ignored |= {'sparsify', 'make_sparse_optimizer', record['distribution']}

  def decides(name: str) -> bool:
    name = name.rpartition('/')[2]
    configurable, _, parameter = name.rpartition('.')
    return ignored.isdisjoint((name, configurable, parameter))

  return {k: v for k, v in sorted(record['bindings'].items()) if decides(k)}


def check_run(directory: str, flag: str) -> None:
  """Raises UserError unless a directory, which a flag named, holds a run."""
  if not files.exists(os.path.join(directory, CONFIG)):
    raise UserError(
      f'{flag} is {directory!r}, but must be the directory of a run: there is '
      f'no {CONFIG}.'
    )


def heading(record: Mapping[str, Any]) -> str:
  """Says what a run is: 'RigL at 90 % sparsity on Hopper-v4'."""
  mark = 'Smoke run: ' if record['smoke'] else ''
  return f'{mark}{record["title"]} on {record["task"] or "its task"}'


def with_numbers(bindings: Mapping[str, str]) -> dict[str, bool | float | str]:
  """Returns bindings as trackers take them: with numbers, and other text."""
  values: dict[str, bool | float | str] = dict(bindings)
  for name, text in bindings.items():
    with contextlib.suppress(ValueError, SyntaxError):
      value = ast.literal_eval(text)
      if isinstance(value, (bool, int, float, str)):
        values[name] = value
  return values


def versions(record: Mapping[str, Any]) -> dict[str, str]:
  """Returns the versions that a run was made with, by package.

  It is 'OLD then NEW' if a process with another version continued the run.
  """
  found: dict[str, list[str]] = {}
  for made in record['made_with']:
    for package, version in made['versions'].items():
      if version and version not in found.setdefault(package, []):
        found[package].append(version)
  return {package: ' then '.join(each) for package, each in found.items()}


def read(directory: str) -> dict[str, Any]:
  """Reads what a run is.

  Args:
    directory: of the run; those of an earlier version have no run.json.

  Returns:
    What `attributes.describe` returns, and

      title: the method in words: 'RigL at 90 % sparsity'.
      networks: by name, their sizes as training began, see `SparseNetworks`.
      parameters: active weights and biases of all of them.
      made_with: {step, git_revision, processor, versions} of the process that
        began the run, and of each that continued it with others.
      modules_from: the current directory of the command, if it found modules
        of the user's there; else ''.

  Raises:
    FileError: a file cannot be used.
  """
  record = describe(directory)
  path = os.path.join(directory, RECORD)
  if not files.exists(path):
    path = os.path.join(directory, SUMMARY)
    _add_sizes_before(record, path)
  with readers.contents_of(path):
    _check_sizes(record)
  return record


def describe(directory: str) -> dict[str, Any]:
  """Reads what a run is as `read` does, but perhaps without sizes and versions.

  Of a run of an earlier version those are among the results, which `describe`
  does not read.
  """
  path = os.path.join(directory, RECORD)
  if not files.exists(path):
    return _describe_version_before(directory)
  record = {'smoke': False, **readers.read_json(path)}  # Of an earlier version.
  with readers.contents_of(path):
    _check_description(record)
  return record


def _describe_version_before(directory: str) -> dict[str, Any]:
  """Describes a run that has no run.json, from its configs."""
  own, operative = (
    os.path.join(directory, name) for name in (CONFIG, OPERATIVE_CONFIG)
  )
  operative = operative if files.exists(operative) else own
  text = readers.read_text(operative)
  with readers.contents_of(operative):
    config = Config.of_text(text)
    if config.value('train.paper') is None:
      # One of these is bound in all configs of Sokar et al., dense or sparse.
      rule = str(config.value('critic/sparsify.distribution'))
      is_sokars = config.value('final_score.last') == 10
      is_sokars = is_sokars or 'erdos_renyi_lambda' in rule
      paper = attributes.SOKAR if is_sokars else 'graesser22'
      config = config.plus([f'train.paper = {paper!r}'])
    record = attributes.describe(config)
    record['bindings'] = _as_recorded_now(record['bindings'])
    record['title'] = record['method']
    origin = text.partition('\n')[0].partition(_ORIGIN)[2]
    record['modules_from'] = ast.literal_eval(origin) if origin else ''
    has_policy = config.value('ActorCriticLoop.initial_policy') is not None
    _check_description(record)
  if has_policy and not record['initial_policy']:
    # The process that continued the run did not use it.
    text = readers.read_text(own)
    with readers.contents_of(own):
      policy = Config.of_text(text).value('saved_policy.run')
      record['initial_policy'] = attributes.text_of(policy)
  return record


def _add_sizes_before(record: dict[str, Any], path: str) -> None:
  """Adds what the summary.json of an earlier version tells, if there is one."""
  summary = readers.read_json(path) if files.exists(path) else {}
  with readers.contents_of(path):
    period = int(
      record['bindings'].get('SparseTd3Agent.actor_update_period', 1)
    )
    is_dqn = 'layers' in summary
    networks = {'online': summary} if is_dqn else summary.get('networks', {})
    record['networks'] = {
      name: {**network, 'period': period if name == 'actor' else 1}
      for name, network in networks.items()
    }
    record['parameters'] = summary.get('parameters')
    made = {'step': 0, 'processor': '', **summary}
    record['made_with'] = [made] if 'versions' in summary else []


def _as_recorded_now(bindings: Mapping[str, str]) -> dict[str, str]:
  """Leaves out bindings that gin recorded, but that changed nothing.

  With them no run of today would equal one of then: those of what ReplayBuffer
  inherited from, TF-Agents' defaults that our agents pass now, and the default
  of a `by_task` that only a check had read.
  """
  return {
    name: value
    for name, value in bindings.items()
    if not name.startswith('OutOfGraphReplayBuffer.')
    and _DEFAULTS_BEFORE.get(name) != value
    and (
      not name.endswith('by_task.otherwise')
      or f'{name.removesuffix("otherwise")}task' in bindings
    )
  }


def _check_description(record: dict[str, Any]) -> None:
  """Raises ValueError if a field has a wrong type; converts numbers."""
  for name, kind in attributes.FIELDS.items():
    record[name] = _checked(name, record[name], kind)
  texts = {name: record[name] for name in ('title', 'modules_from')}
  for name, value in {**texts, **record['bindings']}.items():
    _checked(name, value, str)


def _check_sizes(record: Mapping[str, Any]) -> None:
  check_networks(record['networks'])
  for name in ('parameters', 'actor_share'):
    _checked(name, record.get(name), float)
  for made in record['made_with']:
    _checked('step', made['step'], int)
    texts = {name: made[name] for name in ('git_revision', 'processor')}
    for name, text in {**texts, **made['versions']}.items():
      _checked(name, text or '', str)


def check_networks(networks: Mapping[str, Any]) -> None:
  """Raises an error if these do not describe networks."""
  for network in networks.values():
    for name, kind in _NETWORK.items():
      _checked(name, network[name], kind)
    if network['period'] < 1:
      raise ValueError('a period is below 1')
    for layer in network['layers'].values():
      for size in (layer['active_weights'], *layer['kernel']):
        _checked('a size', size, int)


def _checked(name: str, value: Any, kind: type) -> Any:
  """Returns a value of its type; a missing float is nan."""
  if value is None and kind is float:
    return math.nan
  if kind is float and attributes.is_number(value):
    return float(value)
  if type(value) is not kind or kind is int and abs(value) >= 2**63:
    raise ValueError(f'{name} is {str(value)[:20]!r}, not a {kind.__name__}')
  return value


def write(directory: str, record: Mapping[str, Any], step: int) -> str:
  """Writes run.json once: it says what the run began as.

  A process that continues the run only adds its own git revision, processor and
  versions if they differ: the run may then differ from one never stopped. One
  that extends it changes its length.

  Args:
    directory: of the run.
    record: what `read` is to return, without `made_with`.
    step: from which the run continues; 0 if it begins.

  Returns:
    What has changed, in words; '' if nothing has.
  """
  path = os.path.join(directory, RECORD)
  made_with, differences = [], ''
  if files.exists(path):
    try:
      given, record = record, read(directory)
      names = given['bindings'].keys() & {LENGTH, EXTENDED}
      record['bindings'].update({n: given['bindings'][n] for n in names})
      record['train_steps'] = given['train_steps']
      made_with = [made for made in record['made_with'] if made['step'] < step]
    except readers.FileError as error:
      _LOGGER.warning('%s; it is written again', error)
  elif step:  # Of an earlier version, which may have begun with a policy.
    with contextlib.suppress(readers.FileError):
      policy = _describe_version_before(directory)['initial_policy']
      record = {**record, 'initial_policy': policy}
  here = provenance.collect()
  if made_with:
    differences = provenance.differences(made_with[-1], here)
  if differences or not made_with:
    made_with.append({'step': step, **here})
  write_json(path, {**record, 'made_with': made_with})
  return differences


def write_json(path: str, content: Mapping[str, Any]) -> None:
  """Writes strict JSON: null for NaN and infinity, lists for arrays."""
  style = {'sort_keys': True, 'indent': 2, 'ensure_ascii': False}
  text = json.dumps(_jsonable(content), allow_nan=False, **style)
  files.write(path, text + '\n')


def _jsonable(value: Any) -> Any:
  """Returns a value as strict JSON: no NumPy, null for NaN and infinity."""
  if isinstance(value, Mapping):
    return {str(key): _jsonable(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_jsonable(item) for item in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return _jsonable(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def read_evaluations(directory: str) -> list[dict[str, Any]]:
  """Returns the rows of a run's evaluations.csv, none if there is no file.

  Raises:
    FileError: the file cannot be used.
  """
  path = os.path.join(directory, EVALUATIONS)
  if not files.exists(path):
    return []
  return readers.read_table(path, EVALUATION_COLUMNS)
