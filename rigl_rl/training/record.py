"""What a run is: run.json, written before it trains.

Figures choose runs by it, however a sweep calls them, and a run that no sweep
started is found as well. What came out of a run is in summary.json.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
from typing import Any, Mapping

from rigl_rl import files, readers
from rigl_rl.config import checking
from rigl_rl.config.gin_text import Config, Reference
from rigl_rl.errors import UserError

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
# Those whose names are known to figures.
ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')
# What figures choose runs by. A number that there is not is nan, a text ''.
FIELDS = {
  name: kind
  for kind, names in (
    (str, 'task paper agent network algorithm method distribution width'),
    (str, 'initializer keep_dense initial_policy'),
    (int, 'seed train_steps'),
    (float, 'sparsity size_sparsity batch_size weight_decay update_interval'),
    (float, 'drop_fraction power budget observation_noise'),
    (bool, 'sparsity_bound gradient_snr hard_targets'),
  )
  for name in names.split()
}
# By the classes that gin binds; another one is called by its own name.
_SHORT = {
  'SparseSacAgent': 'SAC',
  'SparseTd3Agent': 'TD3',
  'SparsePPOAgent': 'PPO',
  'MLPQNetwork': 'MLP',
  'NatureQNetwork': 'CNN',
  'ImpalaQNetwork': 'ResNet',
}
_SOKAR = 'sokar22'
# Of an operative_config.gin of the version before.
_ORIGIN = '# Modules were imported from the current directory, '
# Bindings that may differ between runs of one setting. The policy that fills a
# replay buffer is another run with each seed; figures compare its length.
_NOT_SETTINGS = ('train.seed', 'train.paper', 'saved_policy.run')
# Parameters of any class that do not change what is learned.
_WITHOUT_EFFECT = ('checkpoint_period', 'summarize_gradient_snr')


class _Bindings:
  """By which values the configurables of a run were called."""

  def __init__(self, config: Config):
    self._config = config
    self.values: dict[str, Any] = {}
    for key, value in config.bindings.items():
      if key.parameter:
        # Modules are written where gin needs them to tell names apart.
        name = str(key._replace(selector=key.selector.name))
        with contextlib.suppress(UserError):  # A user's own constant, say.
          value = config.resolve(value, name)
        self.values[name] = value

  def all(self, *names: str) -> list[Any]:
    """Returns what parameters are, each value once, in order of scopes.

    Args:
      *names: such as 'sparsify.sparsity', or 'batch_size' of any class.

    Returns:
      Python values; of a reference, the name, without scope and modules.
    """
    found = {}
    for name, value in sorted(self.values.items()):
      name = name.rpartition('/')[2]
      if name in names or name.rpartition('.')[2] in names:
        if isinstance(value, Reference):
          value = value.name
        found[repr(value)] = value
    return list(found.values())

  def text(self, *names: str) -> str:
    """Returns what parameters are as text, '' if there are none."""
    return ' '.join(filter(None, map(_text, self.all(*names))))

  def number(self, *names: str, otherwise: float = math.nan) -> float:
    """Returns the number that parameters are, if it is the same everywhere."""
    found = self.all(*names)
    is_one = len(found) == 1 and _is_number(found[0])
    return float(found[0]) if is_one else otherwise

  def classes(self, *names: str) -> list[str]:
    """Returns the names of what builds parts of the run."""
    # gin does not write a default that is a class: it is as declared.
    found = [checking.effective(self._config, name) for name in names]
    return [getattr(value, 'name', '') for value in found]


def describe(config: Config) -> dict[str, Any]:
  """Says what a run is by the values that its configurables were called with.

  Args:
    config: gin's operative config, taken once all is built.

  Returns:
    The FIELDS:

      task: as bound, such as 'Walker2d-v4' or 'Pong'.
      paper: whose configuration it is, by `train.paper`: 'graesser22',
        'sokar22', or ''.
      agent: 'DQN', 'SAC', 'PPO', 'TD3', or another agent's class.
      network: 'MLP', 'CNN', 'ResNet', or another network's class.
      algorithm: the class, such as 'RigL'.
      method: as figures name it, such as 'Pruning', 'Small dense', 'DS-TD3'.
      sparsity: the target of all networks, 0 if dense; nan if it is not one
        number.
      sparsity_bound: whether sparsity is asked for; otherwise it is what comes
        out, as of the λ of Sokar et al.
      size_sparsity: the sparsity at which the standard network is as large:
        `sparsity`, or what a small dense network's width is matched to.
      distribution: the function, such as 'erdos_renyi_kernel'.
      width: as text: '1', '0.5 0.25' (actor, critic), 'matched_width'.
      seed, train_steps, batch_size: integers.
      weight_decay, drop_fraction: nan if there is none, or several.
      update_interval: in gradient steps; nan if masks are not updated.
      initializer: the function, such as 'sparsity_aware'.
      keep_dense: patterns of layers left dense, as text.
      power: exponent of ERK's factors.
      budget: Budget.total; nan if there is none.
      observation_noise: standard deviation in evaluations, in gray levels.
      gradient_snr: whether the run writes signal-to-noise ratios.
      hard_targets: whether target networks are copied whole (SAC).
      initial_policy: directory of the run whose policy filled the replay
        buffer, '' if none did.

    And bindings: the values themselves, by name, as gin writes them, macros
    resolved; without what was not called.
  """
  bound = _Bindings(config)
  algorithm = bound.text('sparsify.algorithm')
  paper = bound.text('train.paper')
  runner = bound.text('train.runner')
  if runner == 'DopamineRunner':
    agent = 'DQN'
    (network,) = networks = bound.classes('build_network.network')
  else:
    (agent,) = bound.classes(f'{runner}.create_agent')
    parts = ('actor', 'critic', 'value')
    networks = bound.classes(*(f'{agent}.{part}' for part in parts))
    network = 'MLP'
  agent = _SHORT.get(agent, agent)
  width = bound.text(*(f'{name}.width' for name in networks)) or '1'
  sparsity = bound.number('sparsify.sparsity')
  if algorithm == 'Dense':
    sparsity = 0.0
  size_sparsity = sparsity if width == '1' else math.nan
  if width == 'matched_width':
    size_sparsity = bound.number('matched_width.sparsity')
  # TD3's is the optimizer's; 0 is none.
  decays = bound.all(*(f'{name}.weight_decay' for name in (*networks, 'adam')))
  decays = [decay for decay in decays if _is_number(decay) and decay] or [0.0]
  interval = 'UpdateSchedule.interval'
  if algorithm in ('Dense', 'Static'):
    interval = ''
  has_policy = bound.text('initial_policy') == 'saved_policy'
  return {
    'task': bound.text('train.task'),
    'paper': paper,
    'agent': agent,
    'network': _SHORT.get(network, network),
    'algorithm': algorithm,
    'method': _method(agent, algorithm, paper, width),
    'sparsity': sparsity,
    'sparsity_bound': not math.isnan(sparsity),
    'size_sparsity': size_sparsity,
    'distribution': bound.text('sparsify.distribution'),
    'width': width,
    'seed': bound.values.get('train.seed'),
    'train_steps': bound.values.get('train.train_steps'),
    'batch_size': bound.number('batch_size', 'minibatch_size'),
    'weight_decay': decays[0] if len(decays) == 1 else math.nan,
    'update_interval': bound.number(interval),
    'drop_fraction': bound.number(f'{algorithm}.drop_fraction'),
    'initializer': bound.text('sparsify.initializer'),
    'keep_dense': bound.text('sparsify.keep_dense'),
    'power': bound.number('erdos_renyi_kernel.power', otherwise=1.0),
    'budget': bound.number('Budget.total'),
    'observation_noise': bound.number('evaluation_noise', otherwise=0.0),
    'gradient_snr': True in bound.all('summarize_gradient_snr'),
    'hard_targets': bound.number('target_update_tau') == 1,
    'initial_policy': bound.text('saved_policy.run') if has_policy else '',
    'bindings': {name: repr(value) for name, value in bound.values.items()},
  }


def _method(agent: str, algorithm: str, paper: str, width: str) -> str:
  """The method as figures name it."""
  if paper == _SOKAR:
    prefix = {'Dense': '', 'DS': 'DS-'}.get(algorithm, f'{algorithm}-')
    return prefix + agent
  if algorithm == 'Dense':
    return 'Dense' if width == '1' else 'Small dense'
  return {'Prune': 'Pruning'}.get(algorithm, algorithm)


def _text(value: Any) -> str:
  """Numbers short, several in brackets; '' for nothing."""
  if isinstance(value, (list, tuple)):
    return f'({", ".join(map(_text, value))})' if value else ''
  if _is_number(value):
    return f'{value:g}'
  return '' if value is None else str(value)


def _is_number(value: Any) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def settings(record: Mapping[str, Any]) -> dict[str, str]:
  """Returns what decides a run's results beside its seed.

  Args:
    record: what `read` returned.

  Returns:
    {binding: value}, without bindings of masks where there are none, or none
    that changes.
  """
  idle = []
  if record['algorithm'] in ('Dense', 'Static'):
    idle.append('UpdateSchedule')
  if record['algorithm'] == 'Dense':
    idle += ['sparsify', 'make_sparse_optimizer', record['distribution']]
  found = {}
  for name, value in sorted(record['bindings'].items()):
    configurable, _, parameter = name.rpartition('/')[2].rpartition('.')
    if (
      configurable not in idle
      and parameter not in _WITHOUT_EFFECT
      and f'{configurable}.{parameter}' not in _NOT_SETTINGS
    ):
      found[name] = value
  return found


def versions(record: Mapping[str, Any]) -> dict[str, str]:
  """Returns the versions that a run was made with, by package.

  That of a run which was continued by another one is 'OLD then NEW'.
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
    directory: of the run; one of the version before has no run.json.

  Returns:
    What `describe` returns, and

      title: the method in words: 'RigL at 90 % sparsity'.
      networks: by name, their sizes as training began, see `describe_network`.
      parameters: active weights and biases of all of them.
      made_with: {step, git_revision, processor, versions} of the process that
        began the run, and of each that continued it with others.
      modules_from: the current directory of the command, if it found modules
        of the user's there; else ''.

  Raises:
    FileError: a file cannot be used.
  """
  path = os.path.join(directory, RECORD)
  if not files.exists(path):
    return _read_version_before(directory)
  record = readers.read_json(path)
  with readers.contents_of(path):
    _check_description(record)
    _check_sizes(record)
  return record


def _read_version_before(directory: str) -> dict[str, Any]:
  """Reads what a run is that has no run.json, by the files that it has."""
  own, operative, path = (
    os.path.join(directory, name)
    for name in (CONFIG, OPERATIVE_CONFIG, SUMMARY)
  )
  operative = operative if files.exists(operative) else own
  text = readers.read_text(operative)
  with readers.contents_of(operative):
    config = Config.of_text(text)
    if config.value('train.paper') is None:
      # All configs of Sokar et al. bound the one, all sparse ones the other.
      rule = str(config.value('critic/sparsify.distribution'))
      is_sokars = config.value('final_score.last') == 10
      is_sokars = is_sokars or 'erdos_renyi_lambda' in rule
      paper = _SOKAR if is_sokars else 'graesser22'
      config = config.plus([f'train.paper = {paper!r}'])
    record = describe(config)
    origin = text.partition('\n')[0].partition(_ORIGIN)[2]
    record['modules_from'] = ast.literal_eval(origin) if origin else ''
    period = config.value('SparseTd3Agent.actor_update_period', 1)
    has_policy = config.value('ActorCriticLoop.initial_policy') is not None
    _check_description(record)
  if has_policy and not record['initial_policy']:
    # The process that continued the run had no use for it.
    text = readers.read_text(own)
    with readers.contents_of(own):
      policy = Config.of_text(text).value('saved_policy.run')
      record['initial_policy'] = _text(policy)
  summary = readers.read_json(path) if files.exists(path) else {}
  with readers.contents_of(path):
    is_dqn = 'layers' in summary
    networks = {'online': summary} if is_dqn else summary.get('networks', {})
    record['networks'] = {
      name: {**network, 'period': period if name == 'actor' else 1}
      for name, network in networks.items()
    }
    record['parameters'] = summary.get('parameters')
    made = {'step': 0, 'processor': '', **summary}
    record['made_with'] = [made] if 'versions' in summary else []
    _check_sizes(record)
  return record


def _check_description(record: dict[str, Any]) -> None:
  """Raises ValueError where something is not of its kind; makes numbers so."""
  for name, kind in FIELDS.items():
    record[name] = _checked(name, record[name], kind)
  _checked('modules_from', record['modules_from'], str)
  for name, value in record['bindings'].items():
    _checked(name, value, str)


def _check_sizes(record: Mapping[str, Any]) -> None:
  check_networks(record['networks'])
  for name in ('parameters', 'actor_share'):
    _checked(name, record.get(name), float)
  for made in record['made_with']:
    _checked('step', made['step'], int)
    texts = {n: made[n] for n in ('git_revision', 'processor')}
    for name, text in {**texts, **made['versions']}.items():
      _checked(name, text or '', str)


def check_networks(networks: Mapping[str, Any]) -> None:
  """Raises an error if these are no descriptions of networks."""
  for network in networks.values():
    for name in ('parameters', 'forward_flops', 'training_flops'):
      _checked(name, network[name], float)
    _checked('size_mismatch', network['size_mismatch'], float)
    if _checked('period', network['period'], int) < 1:
      raise ValueError('a period is below 1')
    for layer in network['layers'].values():
      for size in (layer['active_weights'], *layer['kernel']):
        _checked('a size', size, int)


def _checked(name: str, value: Any, kind: type) -> Any:
  """A value of its kind; None is nan."""
  if value is None and kind is float:
    return math.nan
  if kind is float and _is_number(value):
    return float(value)
  if type(value) is not kind or kind is int and abs(value) >= 2**63:
    raise ValueError(f'{name} is {str(value)[:20]!r}, not a {kind.__name__}')
  return value


def read_evaluations(directory: str) -> list[dict[str, Any]]:
  """Reads evaluations.csv of a run.

  Returns:
    Dicts of EVALUATION_COLUMNS, in order of steps; none if there is no file.

  Raises:
    FileError: the file cannot be used.
  """
  path = os.path.join(directory, EVALUATIONS)
  if not files.exists(path):
    return []
  return readers.read_table(path, EVALUATION_COLUMNS)
