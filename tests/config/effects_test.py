"""Tests of finding bindings without effect.

An agent of two networks represents a run: `network` is called in the scopes
`actor` and `critic`, `adam` in `critic`, `loop` in none.
"""

import pathlib

import gin
import pytest

from rigl_rl.config import bindings, effects, gin_text, parsing
from rigl_rl.training import run, run_directory

pytestmark = pytest.mark.usefixtures('no_gin_config')


@gin.configurable
class EffectsLoud:
  pass


@gin.configurable
class EffectsQuiet:
  ignores = ('effects_size',)


@gin.configurable
def effects_network(effects_size=1, kind=None):
  return effects_size, kind


@gin.configurable
def effects_adam(rate=1):
  return rate


@gin.configurable
def effects_loop(start=0, end=1, make=effects_network):
  return start, end, make


@gin.configurable
def effects_unused(rate=1):
  return rate


def _build():
  effects_loop(end=2)
  with gin.config_scope('actor'):
    effects_network()
  with gin.config_scope('critic'):
    effects_network()
    effects_adam()


def _given(files, given, is_saved=False):
  """Parses a gin file and bindings of the command line."""
  gin.clear_config()
  gin.parse_config([*files.splitlines(), *given])
  config = gin_text.Config.of_text(files).plus(given)
  return effects.Given(config, given, is_saved)


def _check(files='', given=(), is_saved=False):
  found = _given(files, given, is_saved)
  _build()
  return found.check()


@pytest.mark.parametrize(
  'binding,parts',
  [
    (
      'critics/effects_network.effects_size = 3',
      ["nothing enters the scope 'critics'", "is used in 'actor' and 'critic'"]
      + ['Did you mean critic/effects_network.effects_size?'],
    ),
    (
      'value/effects_network.effects_size = 3',
      ["nothing enters the scope 'value'", "is used in 'actor' and 'critic'."],
    ),
    (
      'actor/effects_adam.rate = 3',
      ["not used in the scope 'actor'", "effects_adam is used in 'critic'"]
      + ['Did you mean critic/effects_adam.rate?'],
    ),
    (
      'actor/effects_loop.start = 3',
      ["not used in the scope 'actor'", 'is used outside of scopes']
      + ['Did you mean effects_loop.start?'],
    ),
    (
      'value/effects_unused.rate = 3',
      ["scope 'value'", "scopes in use are 'actor' and 'critic'."],
    ),
    (
      'actor/deep/effects_network.effects_size = 3',
      ["nothing enters the scope 'actor/deep'"],
    ),
  ],
)
def test_scope_that_nothing_enters(binding, parts, user_error):
  for where in ({'files': binding}, {'given': [binding]}):
    with user_error(f'{binding} has no effect: ', *parts):
      _check(**where)


def test_what_has_an_effect():
  good = [
    'SIZE = 4',
    'actor/effects_network.effects_size = %SIZE',
    'critic/effects_network.effects_size = 3',
    'critic/effects_adam.rate = 3',
    'effects_loop.start = 3',
    'effects_network.kind = @EffectsLoud()',
  ]
  assert _check(given=good) == []
  assert _check(files='\n'.join(good)) == []


def test_outer_scope_applies_within():
  given = _given('', ['actor/effects_adam.rate = 3'])
  with gin.config_scope('actor'), gin.config_scope('deep'):
    assert effects_adam() == 3
  assert given.check() == []


def test_scope_of_a_reference_is_entered_later():
  files = (
    'effects_loop.make = @late/effects_network\n'
    'late/effects_network.effects_size = 3'
  )
  assert _check(files) == []


def test_scope_of_a_reference_that_was_replaced(user_error):
  files = 'effects_loop.make = @late/effects_network'
  binding = 'late/effects_network.effects_size = 3'
  other = 'effects_loop.make = @effects_network'
  assert _check(f'{files}\n{binding}', [other]) == []
  with user_error("nothing enters the scope 'late'"):
    _check(files, [other, binding])


def test_files_that_were_checked_before(user_error):
  files = 'critics/effects_network.effects_size = 3'
  assert _check(files, is_saved=True) == []
  binding = 'critics/effects_network.kind = 3'
  with user_error(binding):
    _check(files, [binding], is_saved=True)


def test_binding_that_others_win_over(user_error):
  scoped = [
    'actor/effects_network.effects_size = 3',
    'critic/effects_network.effects_size = 4',
  ]
  outdone = 'effects_network.effects_size = 5'
  with user_error(
    f'{outdone} has no effect: actor/effects_network.effects_size and '
    'critic/effects_network.effects_size win over it; bind those instead.'
  ):
    _check('\n'.join(scoped), [outdone])
  # In a file it is a default; on the command line with them, a user's choice.
  assert _check('\n'.join([*scoped, outdone])) == []
  (note,) = _check(given=[outdone, *scoped])
  assert note.startswith(f'{outdone} has no effect: actor/')
  assert _check(scoped[0], [outdone]) == []


@pytest.mark.parametrize(
  'binding,why',
  [
    ('effects_unused.rate = 2', 'nothing in this run uses effects_unused.rate'),
    # The caller always gives it.
    ('effects_loop.end = 2', 'nothing in this run uses effects_loop.end'),
    (
      'effects_network.effects_size = 2',
      '@EffectsQuiet() ignores effects_network.effects_size',
    ),
    ('RATE = 2', 'nothing in this run uses effects_unused.rate'),
    (
      'SIZE = 2',
      '@EffectsQuiet() ignores critic/effects_network.effects_size',
    ),
  ],
)
def test_notes_on_the_command_line(binding, why):
  files = """
    SIZE = 1
    BOTH = %SIZE
    RATE = 1
    effects_unused.rate = %RATE
    critic/effects_network.effects_size = %BOTH
    effects_network.kind = @EffectsQuiet()
  """
  assert _check(files, [binding]) == [f'{binding} has no effect: {why}.']
  # In files it is what a sweep's runs have in common.
  assert _check(f'{files}\n{binding}') == []


def test_macro_with_one_user_that_has_an_effect():
  files = 'SIZE = 1\neffects_unused.rate = %SIZE\neffects_adam.rate = %SIZE'
  assert _check(files, ['SIZE = 2']) == []


def test_what_was_only_read_has_an_effect():
  given = _given('', ['effects_unused.rate = 2'])
  assert bindings.read(effects_unused) == {'rate': 2}
  assert given.check() == []


_CONFIGS = pathlib.Path(parsing.__file__).parents[2] / 'gin_configs'
_SMALL = {
  'dqn_classic': ['MLPQNetwork.hidden_units = (8, 8)'],
  'dqn_atari_cnn': ['SparseDQNAgent.replay_capacity = 25000'],
  'sac': ['TransitionBuffer.capacity = 1000'],
  'td3': ['TransitionBuffer.capacity = 1000'],
  'ppo_mujoco': ['PPOLoop.evaluation_episodes = 1'],
}
_SMALL['sac_mujoco'] = _SMALL['sac']
_SMALL['dqn_atari_resnet'] = _SMALL['dqn_atari_cnn']


def _check_run(gin_files, gin_bindings, tmp_path):
  """Builds a run as `run.train` does, and checks its bindings."""
  gin.clear_config()
  given = parsing.parse(gin_files, gin_bindings)
  bound = bindings.read(run.train, ('runner', 'seed', 'train_steps'))
  bound['runner'](
    run_directory.RunDirectory(str(tmp_path / 'run')),
    seed=bound['seed'],
    train_steps=bound['train_steps'],
  )
  return given.check()


@pytest.mark.parametrize(
  'path',
  sorted(
    str(path.relative_to(_CONFIGS.parent))
    for paper in ('graesser22', 'sokar22')
    for path in (_CONFIGS / paper).rglob('*.gin')
  ),
)
def test_shipped_file(path, tmp_path):
  family = pathlib.Path(path).parent.name
  files = [path]
  if pathlib.Path(path).name.startswith('as_'):
    sparse = 'ds_td3.gin' if family == 'td3' else 'rigl.gin'
    files.insert(0, str(pathlib.Path(path).with_name(sparse)))
  assert _check_run(files, _SMALL[family], tmp_path) == []


@pytest.mark.slow
def test_shipped_sweeps(tmp_path):
  """One run of each set of bindings that shipped sweeps give."""
  from rigl_rl import sweeps
  from rigl_rl.sweeps import definition

  seen = set()
  for name in definition.shipped():
    for each in sweeps.load(name).runs():
      values = dict(each.changes)
      # Which numbers they are makes no difference.
      kind = {
        (key, value if str(value)[:1] in '@%' else None)
        for key, value in values.items()
      }
      if (each.gin_files, frozenset(kind)) in seen:
        continue
      seen.add((each.gin_files, frozenset(kind)))
      small = _SMALL[pathlib.Path(each.gin_files[0]).parent.name]
      given = [b for b in small if 'hidden_units' not in b]
      given += [
        binding
        for binding in each.gin_bindings(str(tmp_path))
        # It reads a run that was trained before.
        if 'saved_policy' not in binding
      ]
      assert _check_run(each.gin_files, given, tmp_path) == [], each.name
  assert len(seen) > 100


@pytest.mark.parametrize(
  'file,binding,parts',
  [
    ('sac', 'critics/sparsify.sparsity = 0.1', ['critic/sparsify.sparsity?']),
    ('sac', 'value/sparsify.sparsity = 0.1', ["'actor' and 'critic'"]),
    ('sac', 'sparsify.sparsity = 0.1', ['actor/sparsify.sparsity and critic/']),
    ('ppo', 'critic/sparsify.sparsity = 0.1', ["'actor' and 'value'"]),
    ('ppo', 'value/adam.learning_rate = 0.1', ['ppo/adam.learning_rate?']),
    ('ppo', 'value/UpdateSchedule.interval = 9', ["'ppo'"]),
  ],
)
def test_agents_have_their_scopes(file, binding, parts, tmp_path, user_error):
  files = [f'gin_configs/graesser22/{file}_mujoco/rigl.gin']
  with user_error(f'{binding} has no effect', *parts):
    _check_run(files, [*_SMALL[f'{file}_mujoco'], binding], tmp_path)


@pytest.mark.parametrize(
  'file,binding',
  [
    ('sac', 'critic/UpdateSchedule.interval = 250'),
    ('sac', 'alpha/adam.learning_rate = 0.1'),
    ('sac', 'actor/RigL.drop_fraction = 0.1'),
    ('ppo', 'ppo/UpdateSchedule.interval = 250'),
    ('ppo', 'value/sparsify.distribution = @uniform'),
  ],
)
def test_agents_enter_their_scopes(file, binding, tmp_path):
  files = [f'gin_configs/graesser22/{file}_mujoco/rigl.gin']
  small = _SMALL[f'{file}_mujoco']
  assert _check_run(files, [*small, binding], tmp_path) == []


@pytest.mark.parametrize('family', ['dqn_classic', 'sac_mujoco'])
def test_dense_ignores_sparsity(family, tmp_path):
  files = [f'gin_configs/graesser22/{family}/dense.gin']
  (note,) = _check_run(files, [*_SMALL[family], 'SPARSITY = 0.5'], tmp_path)
  assert note.startswith('SPARSITY = 0.5 has no effect: @Dense() ignores ')
