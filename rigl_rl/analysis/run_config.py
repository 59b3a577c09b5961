"""What a run is, read from its config.gin.

The sweep's own name for a run may be anything; its config is what was run. So
figures choose runs by these attributes, and a run that no sweep started is
found as well.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import re
from typing import Any, Mapping

from rigl_rl.config.gin_text import Config

# By the class that gin binds.
_NETWORKS = {
  'MLPQNetwork': 'MLP',
  'NatureQNetwork': 'CNN',
  'ImpalaQNetwork': 'ResNet',
}
# Where there is a weight decay of networks; TD3's is the optimizer's.
_WEIGHT_DECAYS = (
  'MLPQNetwork.weight_decay',
  'NatureQNetwork.weight_decay',
  'ImpalaQNetwork.weight_decay',
  'Critic.weight_decay',
  'SquashedGaussianActor.weight_decay',
  'GaussianActor.weight_decay',
  'adam.weight_decay',
)
_BATCH_SIZES = (
  'SparseDQNAgent.batch_size',
  'TransitionBuffer.batch_size',
  'SparsePPOAgent.minibatch_size',
)
# Those whose names are known to figures.
ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')
GRAESSER, SOKAR = 'graesser22', 'sokar22'
# By these a run is of Sokar et al.: all their sparse configs bind the
# distribution, all their configs this as `final_score.last`.
_SOKAR_DISTRIBUTION = 'erdos_renyi_lambda'
_SOKAR_EVALUATIONS = 10
# Bindings that may differ between runs of one setting. The policy that fills a
# replay buffer is another run with each seed; figures compare its length.
_NOT_SETTINGS = ('train.seed', 'saved_policy.run')
# Parameters of any class that do not change what is learned.
_WITHOUT_EFFECT = ('checkpoint_period', 'summarize_gradient_snr')
# Bindings of these have no effect where no mask is drawn, or none changes.
_MASKS = ('sparsify', 'make_sparse_optimizer')
_MASK_CHANGES = ('UpdateSchedule',)


class RunConfig:
  """The bindings of a config.gin, macros resolved."""

  def __init__(self, text: str):
    """Parses a config.

    Args:
      text: the content of a run's config.gin; nothing it names is imported.

    Raises:
      UserError: it is no gin config, or includes other files.
    """
    self._bindings = {}
    for key, value in Config.of_text(text).bindings.items():
      # Modules are written where gin needs them to tell names apart.
      name = key.selector.rpartition('.')[2]
      self._bindings[str(key._replace(selector=name))] = value

  def get(self, name: str, *scopes: str) -> Any:
    """Returns a binding's value, or None if there is none.

    Args:
      name: of a macro, or of a parameter with its configurable.
      *scopes: gin scopes in which it may be bound; the first that is counts,
        and the binding without a scope after them.

    Returns:
      A Python value; a reference as its text without '@', scope and '()', such
      as 'RigL'.
    """
    for prefix in (*(f'{scope}/' for scope in scopes), ''):
      if prefix + name in self._bindings:
        return self._resolve(self._bindings[prefix + name])
    return None

  def _resolve(self, value: Any) -> Any:
    """Replaces macros by their values, and shortens references."""
    for _ in range(10):  # A macro of a macro; gin refuses a circle later.
      if isinstance(value, (list, tuple)):
        return type(value)(self._resolve(item) for item in value)
      if isinstance(value, dict):
        return {key: self._resolve(item) for key, item in value.items()}
      if value is None or isinstance(value, (str, bytes, numbers.Number)):
        return value
      text = repr(value)
      if text.startswith('@'):
        return re.split(r'[/.]', text[1:].replace('()', ''))[-1]
      value = self._bindings.get(text[1:])
    return value

  def settings(self) -> dict[str, str]:
    """Returns what decides a run's results beside its seed.

    Returns:
      {binding: value}, macros resolved, as text. Without bindings of masks
      where the algorithm has none, and of algorithms that the run does not use.
    """
    used = self.get('sparsify.algorithm', 'critic', 'actor') or ''
    unused = [name for name in ALGORITHMS if name != used]
    if used in ('Dense', 'Static'):
      unused += _MASK_CHANGES
    if used == 'Dense':
      distribution = self.get('sparsify.distribution', 'critic', 'actor')
      unused += [*_MASKS, distribution]
    found = {}
    for name, value in sorted(self._bindings.items()):
      configurable, _, parameter = name.rpartition('/')[2].rpartition('.')
      is_setting = (
        configurable  # A macro acts through what it is bound to.
        and name not in _NOT_SETTINGS
        and parameter not in _WITHOUT_EFFECT
        and configurable.rpartition('.')[2] not in unused
      )
      if is_setting:
        found[name] = repr(self._resolve(value))
    return found

  def setting(self) -> str:
    """Returns what runs have in common that differ in their seed only."""
    return _digest(sorted(self.settings().items()))

  def fingerprint(self) -> str:
    """Returns what equal configs have in common: 12 hexadecimal digits."""
    return _digest(
      sorted((name, repr(v)) for name, v in self._bindings.items())
    )

  def attributes(self) -> dict[str, Any]:
    """Returns what figures choose runs by.

    Returns:
      task: as bound, such as 'Walker2d-v4' or 'Pong'.
      paper: 'sokar22' or 'graesser22', whose config it is or begins from.
      agent: 'DQN', 'SAC', 'PPO', 'TD3', or another agent's class.
      network: 'MLP', 'CNN' or 'ResNet'.
      algorithm: the class, such as 'RigL'.
      method: as figures name it, such as 'Pruning', 'Small dense', 'DS-TD3'.
      sparsity: the target of all networks, 0. if dense; nan if it is not one
        number.
      sparsity_bound: whether sparsity is asked for; otherwise it is what comes
        out, as of the λ of Sokar et al.
      size_sparsity: the sparsity at which the standard network is as large:
        `sparsity`, or what a small dense network's width is matched to.
      distribution: the function, such as 'erdos_renyi_kernel'.
      width: as text: '1', '0.5 0.25' (actor, critic), 'matched_width'.
      seed, train_steps, batch_size: integers.
      weight_decay, drop_fraction: numbers, nan if there is none.
      update_interval: in gradient steps; nan if masks are not updated.
      initializer: the function, such as 'sparsity_aware'.
      keep_dense: patterns of layers left dense, as text.
      power: exponent of ERK's factors.
      budget: Budget.total; nan if there is none.
      observation_noise: standard deviation in evaluations, in gray levels.
      gradient_snr: whether the run writes signal-to-noise ratios.
      hard_targets: whether target networks are copied whole (SAC).
      actor_period: train steps to one of the actor.
      initial_policy: directory of the run whose policy filled the replay
        buffer, '' if none did.
    """
    agent = self._agent()
    algorithm = self.get('sparsify.algorithm', 'critic', 'actor') or ''
    distribution = self.get('sparsify.distribution', 'critic', 'actor') or ''
    paper = self._paper(distribution)
    width = self._width()
    sparsity = self._sparsity(algorithm)
    size_sparsity = sparsity
    if width == 'matched_width':
      # The default of matched_width.sparsity.
      size_sparsity = _number(self.get('matched_width.sparsity'), 0.9)
    elif width != '1':
      size_sparsity = math.nan
    network = self.get('build_network.network')
    prefix = f'Sparse{agent.capitalize()}Agent.'
    if agent in ('DQN', 'PPO'):
      prefix = f'Sparse{agent}Agent.'
    updates = algorithm not in ('', 'Dense', 'Static')
    moves = updates and algorithm != 'Prune'
    return {
      'task': str(self.get('train.task') or ''),
      'paper': paper,
      'agent': agent,
      'network': _NETWORKS.get(network, network) if network else 'MLP',
      'algorithm': algorithm,
      'method': _method(agent, algorithm, paper, width),
      'sparsity': sparsity,
      'sparsity_bound': not math.isnan(sparsity),
      'size_sparsity': size_sparsity,
      'distribution': distribution,
      'width': width,
      'seed': _whole(self.get('train.seed')),
      'train_steps': _whole(self.get('train.train_steps')),
      'batch_size': _whole(self._first(_BATCH_SIZES)),
      'weight_decay': _number(self._first(_WEIGHT_DECAYS)),
      'update_interval': _number(
        self.get('UpdateSchedule.interval', 'critic', 'actor')
        if updates
        else None
      ),
      'drop_fraction': _number(
        self.get(f'{algorithm}.drop_fraction', 'critic', 'actor')
        if moves
        else None
      ),
      'initializer': self.get('sparsify.initializer', 'critic', 'actor') or '',
      'keep_dense': _text(self.get('sparsify.keep_dense', 'critic', 'actor')),
      'power': _number(
        self.get('erdos_renyi_kernel.power', 'critic', 'actor'), 1.0
      ),
      'budget': _number(self.get('Budget.total')),
      'observation_noise': _number(
        self.get('DopamineRunner.evaluation_noise'), 0.0
      ),
      'gradient_snr': self.get(prefix + 'summarize_gradient_snr') is True,
      'hard_targets': self.get(prefix + 'target_update_tau') == 1,
      'actor_period': _whole(self.get(prefix + 'actor_update_period'), 1),
      'initial_policy': self._initial_policy(),
    }

  def _agent(self) -> str:
    """'DQN', 'SAC', 'PPO' or 'TD3'; another one by its class."""
    if self.get('train.runner') == 'DopamineRunner':
      return 'DQN'
    for runner in ('ActorCriticLoop', 'PPOLoop'):
      bound = self.get(f'{runner}.create_agent')
      if bound:
        short = re.sub(r'^Sparse(\w+)Agent$', r'\1', bound)
        upper = short.upper()
        return upper if upper in ('SAC', 'PPO', 'TD3', 'DQN') else bound
    return ''

  def _paper(self, distribution: str) -> str:
    """Its paper; dense SAC is in both, and has no distribution."""
    last = self.get('final_score.last')
    is_count = isinstance(last, int) and last == _SOKAR_EVALUATIONS
    return (
      SOKAR if distribution == _SOKAR_DISTRIBUTION or is_count else GRAESSER
    )

  def _first(self, names: tuple[str, ...]) -> Any:
    for name in names:
      value = self.get(name)
      if value is not None:
        return value
    return None

  def _width(self) -> str:
    """The widths as text; one if all networks have the same."""
    bound = [
      self.get(name) for name in ('WIDTH', 'ACTOR_WIDTH', 'CRITIC_WIDTH')
    ]
    texts = dict.fromkeys(_text(value) for value in bound[1:] if value)
    if not texts:
      texts = [_text(bound[0]) or '1']
    return ' '.join(texts)

  def _sparsity(self, algorithm: str) -> float:
    if algorithm == 'Dense':
      return 0.0
    bound = {
      self.get('sparsify.sparsity', scope)
      for scope in ('actor', 'critic', 'value')
      if f'{scope}/sparsify.sparsity' in self._bindings
    } or {self.get('sparsify.sparsity')}
    # Otherwise each network has its own, or a function finds it.
    return _number(bound.pop()) if len(bound) == 1 else math.nan

  def _initial_policy(self) -> str:
    if self.get('ActorCriticLoop.initial_policy') != 'saved_policy':
      return ''
    return str(self.get('saved_policy.run') or '')


def _method(agent: str, algorithm: str, paper: str, width: str) -> str:
  """The method as figures name it."""
  if paper == SOKAR:
    prefix = {'Dense': '', 'DS': 'DS-'}.get(algorithm, f'{algorithm}-')
    return prefix + agent
  if algorithm == 'Dense':
    return 'Dense' if width == '1' else 'Small dense'
  return {'Prune': 'Pruning'}.get(algorithm, algorithm)


def _digest(value: Any) -> str:
  return hashlib.sha256(repr(value).encode('utf-8')).hexdigest()[:12]


def _is_number(value: Any) -> bool:
  return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _number(value: Any, otherwise: float = math.nan) -> float:
  return float(value) if _is_number(value) else otherwise


def _whole(value: Any, otherwise: int | None = None) -> int | None:
  return int(value) if _is_number(value) else otherwise


def _text(value: Any) -> str:
  """Numbers short, several in brackets; '' for nothing."""
  if value is None:
    return ''
  if _is_number(value):
    return f'{value:g}'
  if isinstance(value, (list, tuple)):
    return f'({", ".join(map(_text, value))})' if value else ''
  return str(value)


def as_mapping(value: Any) -> Mapping[str, Any]:
  """Returns `value` if it is a mapping, else an empty one."""
  return value if isinstance(value, Mapping) else {}
