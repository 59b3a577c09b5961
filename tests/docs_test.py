"""README and docs/: commands that parse, links that lead, numbers that hold."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import shlex

import gin
import numpy as np
import pytest
from markdown.extensions import toc

import rigl_rl
from rigl_rl.commands import __main__ as console
from rigl_rl.commands import command_line
from rigl_rl.config import checking, declarations, parsing

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
PAGES = {
  str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
  for path in (
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    *DOCS.rglob('*.md'),
  )
}


def _load_hooks():
  spec = importlib.util.spec_from_file_location('hooks', DOCS / 'hooks.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


HOOKS = _load_hooks()
MADE = {f'docs/{path}': text for path, text in HOOKS.pages().items()}


def _commands():
  """Yields page and words of each command of this package in a block."""
  for page, text in PAGES.items():
    for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL):
      for line in block.replace('\\\n', ' ').splitlines():
        found = re.search(r'python -m launch\.(\w+)(.*)', line)
        if found:
          arguments = found[2].replace('$seed', '0')
          yield page, found[1], shlex.split(arguments, comments=True)


COMMANDS = list(_commands())


def _id(command):
  page, name, arguments = command
  return ' '.join([page, name, *arguments])[:120]


@pytest.mark.parametrize('command', COMMANDS, ids=_id)
def test_a_command_is_understood(command, monkeypatch, capsys):
  _, name, arguments = command
  assert name in console.commands()
  module = importlib.import_module(f'rigl_rl.commands.{name}')
  if name == 'sweep':
    assert module.main([*arguments, '--dry_run']) == 0, capsys.readouterr()
    return
  # Its flags are read, and nothing is done.
  monkeypatch.setattr(command_line, 'run', lambda work: 77)
  assert module.main(arguments) == 77
  flags = [argument.partition('=') for argument in arguments]
  values = {name: [] for name in ('--gin_files', '--gin_bindings', '--figure')}
  for flag, _, value in flags:
    values.setdefault(flag, []).append(value)
  if values['--gin_files']:
    checking.check(values['--gin_files'], values['--gin_bindings'])
  if values['--figure']:
    from rigl_rl.analysis import figures

    assert set(values['--figure']) <= {*figures.names(), 'all'}


def test_every_command_is_shown():
  shown = {name for _, name, _ in COMMANDS}
  assert shown == set(console.commands())


def _anchors(text):
  text = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
  headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  return {toc.slugify(heading.replace('`', ''), '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
  text = re.sub(r'```.*?```', '', PAGES[page], flags=re.DOTALL)
  for target in re.findall(r'\]\(([^)\s]+)', text):
    if re.match(r'[a-z]+:', target):
      continue
    path, _, anchor = target.partition('#')
    resolved = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    name = str(resolved.relative_to(ROOT))
    assert resolved.exists() or name in MADE, target
    if anchor:
      assert anchor in _anchors(PAGES.get(name) or MADE[name]), target


def test_every_page_is_in_the_navigation():
  text = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
  listed = set(re.findall(r': (\S+\.md)$', text, re.MULTILINE))
  every = {
    page.removeprefix('docs/')
    for page in (*PAGES, *MADE)
    if page.startswith('docs/') and not page.startswith('docs/api/')
  }
  assert listed == every


def test_every_binding_is_listed():
  text = MADE['docs/bindings.md']
  # Not the one that is cached: it knows modules of other tests, too.
  for configurable in declarations.Library().all():
    (section,) = re.findall(
      rf'^### {configurable.name}\n(.*?)(?=^##|\Z)',
      text,
      re.MULTILINE | re.DOTALL,
    )
    rows = re.findall(
      r'^\| `(\w+)` \| (.*?) \| (.*?) \|', section, re.MULTILINE
    )
    assert [name for name, _, _ in rows] == list(configurable.parameters)
    for name, default, domain in rows:
      parameter = configurable.parameters[name]
      expected = (parameter.default or '–').replace('gin.REQUIRED', 'required')
      assert default.strip('`').replace(r'\|', '|') == expected
      assert domain.replace(r'\|', '|') == ' '.join(
        str(parameter.domain).split()
      )


def test_every_public_name_is_in_the_reference():
  found = re.findall(r'\]\[(rigl_rl\.\S+?)\]', PAGES['docs/api/index.md'])
  assert {name.rpartition('.')[2] for name in found} == set(rigl_rl.__all__)


def test_the_readme_trains_a_keras_model():
  (code,) = re.findall(
    r'```python\n(import rigl_rl.*?)```', PAGES['README.md'], re.DOTALL
  )
  names = {'x': np.ones((64, 64), np.float32), 'y': np.ones((64, 10))}
  exec(code, names)
  (first, _) = names['layers']
  assert (first.kernel.numpy() == 0).mean() > 0.8


def test_the_readme_is_short():
  assert len(PAGES['README.md'].splitlines()) <= 180


_AGENTS = {
  'DQN classic': 'dqn_classic',
  'SAC': 'sac_mujoco',
  'PPO': 'ppo_mujoco',
  'DQN Atari': 'dqn_atari_cnn',
}


def _schedules():
  text = PAGES['docs/graesser22.md']
  table = text.split('<!-- schedule -->')[1].split('<!-- /schedule -->')[0]
  lines = [line for line in table.splitlines() if line.startswith('| ')]
  rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
  assert rows[0][:4] == ['agent', 'M', 'N', 'K']
  return {row[0]: row[1:] for row in rows[1:]}


def _first_number(cell):
  return int(re.match(r'[\d,]+', cell)[0].replace(',', ''))


@pytest.mark.parametrize('agent', _AGENTS)
def test_schedule(agent, no_gin_config):
  *numbers, names = _schedules()[agent]
  train_steps, period, amount = map(_first_number, numbers)
  period_name, amount_name = re.findall(r'`([\w.]+)`', names)
  runner = period_name.partition('.')[0]
  parsing.parse([f'gin_configs/agents/{_AGENTS[agent]}.gin'], [])
  assert gin.query_parameter('%TRAIN_STEPS') == train_steps
  steps = gin.query_parameter(period_name)
  if agent == 'PPO':  # It counts rollouts.
    steps *= gin.query_parameter('PPOLoop.rollout_steps')
  assert steps == period
  assert gin.query_parameter(runner + amount_name) == amount


def test_every_agent_has_a_schedule():
  assert set(_schedules()) == set(_AGENTS)
