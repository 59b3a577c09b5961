"""Reads bindings without importing what they name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rigl_rl.config import gin_text


@pytest.fixture
def config(tmp_path):
  def read(text, *bindings):
    path = tmp_path / 'config.gin'
    path.write_text(text)
    return gin_text.Config([str(path)], bindings)

  return read


def test_values_macros_and_references(config):
  c = config(
    'import no.such.module\n'
    'STEPS = 1000\n'
    'train.train_steps = %STEPS\n'
    'RigL.drop_fraction = 0.3\n'
    'sparsify.algorithm = @RigL()\n'
    'Net.units = (%STEPS, [1, %STEPS], {"a": %STEPS})\n'
  )
  assert c.value('STEPS') == 1000
  assert c.value('train.train_steps') == 1000
  assert c.value('RigL.drop_fraction') == 0.3
  assert str(c.value('sparsify.algorithm')) == '@RigL()'
  assert c.value('Net.units') == (1000, [1, 1000], {'a': 1000})
  assert c.value('Net.other', 7) == 7


def test_later_wins_and_bindings_win(config, tmp_path):
  (tmp_path / 'base.gin').write_text('A = 1\nB = 1\nC = 1\n')
  c = config(f"include '{tmp_path}/base.gin'\nB = 2\nC = 2\n", 'C = 3')
  assert [c.value(name) for name in 'ABC'] == [1, 2, 3]
  other = c.plus(['A = 4'])
  assert (other.value('A'), c.value('A')) == (4, 1)


def test_scopes(config):
  c = config(
    'f.x = 1\na/f.x = 2\na/b/f.y = 3\na/f.y = 4\nmodule.sub.g.z = 5\n'
    'H/gin.macro.value = 6\n'
  )
  assert c.value('f.x') == 1
  assert c.value('a/f.x') == c.value('a/b/f.x') == 2
  assert c.value('other/f.x') == 1
  assert c.arguments('f', 'a/b') == {'x': 2, 'y': 3}
  assert c.arguments('f', 'a') == {'x': 2, 'y': 4}
  assert c.arguments('f') == {'x': 1}
  assert c.value('g.z') == c.value('sub.g.z') == 5
  assert c.value('H') == 6


def test_by_task_is_called():
  c = gin_text.Config(
    ['gin_configs/graesser22/sac_mujoco/rigl.gin'], ["ENV_NAME='Hopper-v5'"]
  )
  assert c.value('ActorCriticLoop.initial_collect_steps') == 1000


@pytest.mark.parametrize(
  'text,parts',
  [
    ('A = [1, 2\n', ['config.gin', 'cannot be read as gin']),
    ('A = 1\nB = = 2\n', ['line 2', 'cannot be read as gin']),
    ("include 'gin_configs/none.gin'\n", ['none.gin', 'no such file']),
  ],
)
def test_text_that_is_not_gin(text, parts, config, user_error):
  with user_error(*parts):
    config(text)


@pytest.mark.parametrize('binding', ['A', 'A = ', '= 3', ''])
def test_text_that_is_not_a_binding(binding, user_error):
  with user_error('--gin_bindings'):
    gin_text.Config([], [binding])


def test_macro_errors(config, user_error):
  with user_error('A is %B, but B is not bound'):
    config('A = %B\n').value('A')
  with user_error('refers to itself'):
    config('A = %B\nB = %A\n').value('A')


@pytest.mark.parametrize(
  'one,other,expected',
  [
    (1, 1.0, True),
    (1, True, False),
    (True, True, True),
    ((1, 2), [1, 2], False),
    ((1, 2), (1,), False),
    ({'a': (1,)}, {'a': (1.0,)}, True),
    ({'a': 1}, {'a': True}, False),
    (gin_text.parse_value('@f'), '@f', False),
    (gin_text.parse_value('@a/f()'), gin_text.parse_value('@a/m.f()'), True),
    (gin_text.parse_value('@m.f'), gin_text.parse_value('@n.f'), False),
    (gin_text.parse_value('%A'), gin_text.parse_value('@A/macro()'), True),
    (None, 0, False),
  ],
)
def test_same(one, other, expected):
  assert gin_text.same(one, other) == gin_text.same(other, one) == expected


def test_listing_imports_no_tensorflow():
  code = (
    'import sys\n'
    'from rigl_rl import sweeps\n'
    'assert len(sweeps.load("graesser22/fig02_sac").runs()) == 630\n'
    'import rigl_rl.commands.sweep\n'
    'heavy = {"tensorflow", "tf_agents", "dopamine", "jax", "ray", "pandas"}\n'
    'assert not heavy & set(sys.modules)\n'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True)
  assert done.returncode == 0, done.stderr.decode()


def test_a_file_that_changed_is_read_again(tmp_path):
  path = tmp_path / 'config.gin'
  included = tmp_path / 'included.gin'
  path.write_text(f"include '{included}'\nA = 1\n")
  for value in (2, 30):
    included.write_text(f'B = {value}\n')
    assert gin_text.Config([str(path)]).value('B') == value


def test_a_file_that_is_no_text_is_refused(tmp_path, user_error):
  path = tmp_path / 'config.gin'
  path.write_bytes(b'A = 1\n\xff')
  with user_error(str(path), 'cannot be read as gin', 'utf-8'):
    gin_text.Config([str(path)])


def test_a_file_that_includes_itself_is_refused(tmp_path, user_error):
  path = tmp_path / 'config.gin'
  path.write_text(f"include '{path}'\n")
  with user_error('includes itself'):
    gin_text.Config([str(path)])
