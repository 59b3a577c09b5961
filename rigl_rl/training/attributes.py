"""What a run is, by the values that its configurables were called with.

Figures choose runs by this description, not by a sweep's names for them, so
they also find runs that no sweep started.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

from rigl_rl.config import checking
from rigl_rl.config.gin_text import Config, Reference
from rigl_rl.errors import UserError

# The algorithms that figures know by name.
ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')
# What figures choose runs by. A missing number is nan, a missing text ''.
FIELDS = {
  name: kind
  for kind, names in (
    (str, 'task paper agent network algorithm method distribution width'),
    (str, 'initializer keep_dense initial_policy'),
    (int, 'seed train_steps'),
    (float, 'sparsity size_sparsity batch_size weight_decay update_interval'),
    (float, 'drop_fraction power budget observation_noise'),
    (bool, 'sparsity_bound gradient_snr hard_targets smoke'),
  )
  for name in names.split()
}
# Short names of classes that gin binds; other classes keep their own.
_SHORT = {
  'SparseDQNAgent': 'DQN',
  'SparseSacAgent': 'SAC',
  'SparseTd3Agent': 'TD3',
  'SparsePPOAgent': 'PPO',
  'MLPQNetwork': 'MLP',
  'NatureQNetwork': 'CNN',
  'ImpalaQNetwork': 'ResNet',
}
# Bindings that earlier versions did not have, left out where they are false: so
# a run of then and a run of now have the same bindings.
_ADDED = ('train.smoke', 'train.extended')
SOKAR = 'sokar22'
# Its agent is DQN, or a class that derives from it.
DOPAMINE_RUNNER = 'DopamineRunner'


class Bindings:
  """The values that the configurables of a run were called with."""

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
    """Returns the values of parameters, each once, in order of scopes.

    A reference becomes its name, without scope and modules.

    Args:
      *names: such as 'sparsify.sparsity', or 'batch_size' of any class.
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
    """Returns the values of parameters as text, '' if there are none."""
    return ' '.join(filter(None, map(text_of, self.all(*names))))

  def number(self, *names: str, otherwise: float = math.nan) -> float:
    """Returns the number that all these parameters have, if it is the same."""
    found = self.all(*names)
    is_one = len(found) == 1 and is_number(found[0])
    return float(found[0]) if is_one else otherwise

  def classes(self, *names: str) -> list[str]:
    """Returns the names of the classes that build parts of the run."""
    # gin does not write a default that is a class: read the declaration.
    found = [checking.effective(self._config, name) for name in names]
    return [getattr(value, 'name', '') for value in found]

  def agent(self) -> str:
    """Returns the name of the agent's class."""
    runner = self.text('train.runner')
    if runner == DOPAMINE_RUNNER:
      return self.text(f'{runner}.agent') or 'SparseDQNAgent'
    return self.classes(f'{runner}.create_agent')[0]


def describe(config: Config) -> dict[str, Any]:
  """Describes a run by the values that its configurables were called with.

  Args:
    config: gin's operative config, taken once all is built.

  Returns:
    The FIELDS, of which a number is nan if there is none, or several:

      task: as bound, such as 'Walker2d-v4' or 'Pong'.
      paper: whose configuration it is: 'graesser22', 'sokar22', or ''.
      agent: 'DQN', 'SAC', 'PPO', 'TD3', or another agent's class.
      network: 'MLP', 'CNN', 'ResNet', or another network's class.
      algorithm: the class, such as 'RigL'.
      method: as figures name it, such as 'Pruning', 'Small dense', 'DS-TD3'.
      sparsity: the target of all networks, 0 if dense.
      sparsity_bound: whether the sparsity is bound; otherwise it follows from
        other values, such as the λ of Sokar et al.
      size_sparsity: the sparsity at which the standard network is as large:
        `sparsity`, or what a small dense network's width is matched to.
      distribution, initializer: the function, such as 'erdos_renyi_kernel'.
      width: as text: '1', '0.5 0.25' (actor, critic), 'matched_width'.
      update_interval: in gradient steps; nan if masks are not updated.
      keep_dense: patterns of layers left dense, as text.
      power: exponent of ERK's factors.
      budget: Budget.total.
      observation_noise: standard deviation in evaluations, in gray levels.
      gradient_snr: whether the run writes signal-to-noise ratios.
      hard_targets: whether target networks are copied whole (SAC).
      smoke: whether it is only a short try, see `gin_configs/smoke`.
      initial_policy: directory of the run whose policy filled the replay
        buffer, '' if none did.

    And bindings: the values of what was called, by name, as gin writes them,
    with macros resolved.
  """
  bound = Bindings(config)
  algorithm = bound.text('sparsify.algorithm')
  paper = bound.text('train.paper')
  agent = bound.agent()
  if bound.text('train.runner') == DOPAMINE_RUNNER:
    (network,) = networks = bound.classes('build_network.network')
  else:
    parts = ('actor', 'critic', 'value')
    networks = bound.classes(*(f'{agent}.{part}' for part in parts))
    network = 'MLP'
  width = bound.text(*(f'{name}.width' for name in networks)) or '1'
  sparsity = bound.number('sparsify.sparsity')
  if algorithm == 'Dense':
    sparsity = 0.0
  size_sparsity = sparsity if width == '1' else math.nan
  if width == 'matched_width':
    size_sparsity = bound.number('matched_width.sparsity')
  # TD3's is in the optimizer; 0 means none.
  decays = bound.all(*(f'{name}.weight_decay' for name in (*networks, 'adam')))
  decays = [decay for decay in decays if is_number(decay) and decay] or [0.0]
  interval = 'UpdateSchedule.interval'
  if algorithm in ('Dense', 'Static'):
    interval = ''
  has_policy = bound.text('initial_policy') == 'saved_policy'
  return {
    'task': bound.text('train.task'),
    'paper': paper,
    'agent': short_name(agent),
    'network': short_name(network),
    'algorithm': algorithm,
    'method': _method(short_name(agent), algorithm, paper, width),
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
    'smoke': True in bound.all('train.smoke'),
    'initial_policy': bound.text('saved_policy.run') if has_policy else '',
    'bindings': {
      name: repr(value)
      for name, value in bound.values.items()
      if value or name not in _ADDED
    },
  }


def short_name(name: str) -> str:
  """Returns how a class is called in words: 'SAC'; others keep their name."""
  return _SHORT.get(name, name)


def _method(agent: str, algorithm: str, paper: str, width: str) -> str:
  """The method as figures name it."""
  if paper == SOKAR:
    prefix = {'Dense': '', 'DS': 'DS-'}.get(algorithm, f'{algorithm}-')
    return prefix + agent
  if algorithm == 'Dense':
    return 'Dense' if width == '1' else 'Small dense'
  return {'Prune': 'Pruning'}.get(algorithm, algorithm)


def text_of(value: Any) -> str:
  """Returns short text: sequences in brackets, '' for None."""
  if isinstance(value, (list, tuple)):
    return f'({", ".join(map(text_of, value))})' if value else ''
  if is_number(value):
    return f'{value:g}'
  return '' if value is None else str(value)


def is_number(value: Any) -> bool:
  """Whether a value is a number, and not True or False."""
  return isinstance(value, (int, float)) and not isinstance(value, bool)
