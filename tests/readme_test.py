"""README's table of training schedules, against the gin files."""

from __future__ import annotations

import pathlib
import re

import gin
import pytest

from rigl_rl.config import parsing

_README = pathlib.Path(__file__).parents[1] / 'README.md'
_AGENTS = {
  'DQN classic': 'dqn_classic',
  'SAC': 'sac_mujoco',
  'PPO': 'ppo_mujoco',
  'DQN Atari': 'dqn_atari_cnn',
}


def _rows():
  text = _README.read_text(encoding='utf-8')
  table = text.split('<!-- schedule -->')[1].split('<!-- /schedule -->')[0]
  lines = [line for line in table.splitlines() if line.startswith('| ')]
  rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
  assert rows[0][:4] == ['agent', 'M', 'N', 'K']
  return {row[0]: row[1:] for row in rows[1:]}


def _first_number(cell):
  return int(re.match(r'[\d,]+', cell)[0].replace(',', ''))


@pytest.mark.parametrize('agent', _AGENTS)
def test_schedule(agent, no_gin_config):
  *numbers, names = _rows()[agent]
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


def test_every_agent_has_a_row():
  assert set(_rows()) == set(_AGENTS)
