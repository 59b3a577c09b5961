"""Which gin configs are the same, and how a difference is named."""

import gin
import pytest

from rigl_rl.config.gin_text import Config


def differing_bindings(here, existing):
  return Config.of_text(here).differences(Config.of_text(existing))


@pytest.mark.parametrize(
  'same',
  [
    'A.b = 1 # a comment',
    '\n\n  # indented\nA.b = \\\n    1\n',
    'A.b = 1.0',
    'A:\n  b = 1\n',
    'A.b = 2\nA.b = 1',
    'import some.module\nfrom another import one\nA.b = 1',
    'rigl_rl.module.A.b = 1',
  ],
)
def test_what_does_not_change_a_config(same):
  assert differing_bindings(same, 'A.b = 1') == []
  assert differing_bindings('A.b = 1', same) == []


@pytest.mark.parametrize(
  'one, other',
  [
    (
      'A = [1, (2, "x"), {"k": @f()}]',
      'A = [\n  1,\n  (2, \'x\'),\n  {"k": @f()},\n]',
    ),
    ('A = "ab"', "A = ('a'\n 'b')"),
    ('A = @scope/f', 'A = @scope/module.f'),
    ('A = %B', 'A = @B/macro()'),
    ('A = 1', 'A/macro.value = 1'),
    ('A = -1', 'A = -  1'),
  ],
)
def test_the_same_value_written_differently(one, other):
  assert differing_bindings(one, other) == []


@pytest.mark.parametrize(
  'one, other',
  [
    ('1', '2'),
    ('1', 'True'),
    ('0', 'False'),
    ('0', 'None'),
    ('"1"', '1'),
    ('[1]', '(1,)'),
    ('[1, 2]', '[1]'),
    ('{"a": 1}', '{"a": 2}'),
    ('{"a": 1}', '{"b": 1}'),
    ('[True]', '[1]'),
    ('@f', '@f()'),
    ('@f', '@g'),
    ('@s/f', '@f'),
    ('@s/f', '@t/f'),
    ('%X', '%Y'),
    ('@f', '"f"'),
    ('@one.f', '@two.f'),
    ('.1', '.1000000000000001'),
  ],
)
def test_values_that_differ(one, other):
  assert differing_bindings(f'A = {one}', f'A = {other}') == [
    f'A is {shown(one)} here, {shown(other)} in the existing run'
  ]


def shown(text):
  return text if text[0] in '@%' else repr(eval(text))  # Literals above.


def test_scopes_and_modules_tell_bindings_apart():
  assert differing_bindings(
    'a/F.x = 1\nF.x = 1\none.G.y = 1', 'b/F.x = 1\nF.x = 1\ntwo.G.y = 1'
  ) == [
    'one.G.y is 1 here, not set in the existing run',
    'two.G.y is not set here, 1 in the existing run',
    'a/F.x is 1 here, not set in the existing run',
    'b/F.x is not set here, 1 in the existing run',
  ]


def test_long_values_are_cut():
  (difference,) = differing_bindings(f'A = {list(range(1000))}', 'A = 1')
  assert len(difference) < 120 and '… here, 1 in' in difference


def test_what_gin_writes_can_be_compared(no_gin_config):
  @gin.configurable('ComparisonTestThing')
  def thing(values=(), other=None, long=''):
    return values, other, long

  del thing
  with gin.unlock_config():
    gin.parse_config("""
        LIST = [1.5, 'text', None, True, (1,), {'a': @ComparisonTestThing}]
        ComparisonTestThing.values = %LIST
        scope/ComparisonTestThing.other = @scope/ComparisonTestThing()
        ComparisonTestThing.long = 'aaaaaaaaaaaaa bbbbbbbbbbbbb ccccc'
        ComparisonTestThing.values = [
            'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbb',
            'ccccccccccccccccccccccccccccc']
    """)
    text = gin.config_str()
    narrow = gin.config_str(max_line_length=20, continuation_indent=2)
  assert text != narrow
  assert len(Config.of_text(text).bindings) == 4
  assert differing_bindings(text, narrow) == []
