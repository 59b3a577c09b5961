"""The papers' figures and tables, by the name of their sweep file."""

from __future__ import annotations

from typing import Any, NamedTuple

from rigl_rl import tasks
from rigl_rl.analysis.figures import (
  actor_share,
  cost_table,
  curves,
  flops,
  iqm,
  noise,
  score_table,
  settings,
  size,
  snr,
)

_CLASSIC = ('CartPole', 'Acrobot', 'MountainCar')
_MUJOCO = ('HalfCheetah', 'Walker2d', 'Humanoid')
_MORE_MUJOCO = ('Hopper', 'Ant')
_ALL_MUJOCO = (*_MUJOCO, *_MORE_MUJOCO)
_GAMES = tasks.GRAESSER22_GAMES
_THREE_GAMES = _GAMES[:3]
# Environment steps, of Atari agent steps, by the papers.
_CLASSIC_STEPS = 100_000
_MUJOCO_STEPS = 1_000_000
_ATARI_STEPS = 10_000_000


class Entry(NamedTuple):
  """A figure or table: its title, and what draws it, `kind.draw(request)`."""

  title: str
  kind: Any


def _size(*rows: size.Row, columns: int = 3) -> size.ReturnAgainstSize:
  return size.ReturnAgainstSize(rows, columns)


def _sac(tasks, **kwargs):
  return size.Row('SAC, ', 'SAC', 'MLP', tasks, _MUJOCO_STEPS, **kwargs)


def _ppo(tasks, **kwargs):
  return size.Row('PPO, ', 'PPO', 'MLP', tasks, _MUJOCO_STEPS, **kwargs)


def _atari(network, tasks, **kwargs):
  return size.Row('', 'DQN', network, tasks, _ATARI_STEPS, **kwargs)


def _classic(title, distribution):
  return size.Row(title, 'DQN', 'MLP', _CLASSIC, _CLASSIC_STEPS, distribution)


def _iqm(title, agent, network, sparsity, tasks) -> iqm.Panel:
  steps = _ATARI_STEPS if agent == 'DQN' else _MUJOCO_STEPS
  return iqm.Panel(title, agent, network, sparsity, tasks, steps)


def _iqm_by_sparsity(agent, network, tasks, fewer=None):
  """Panels of 50, 90, 95 and 99 %; `fewer` has the tasks of some of them."""
  return iqm.InterquartileMeans(
    tuple(
      _iqm(
        f'{100 * sparsity:g} %',
        agent,
        network,
        sparsity,
        (fewer or {}).get(sparsity, tasks),
      )
      for sparsity in (0.5, 0.9, 0.95, 0.99)
    )
  )


_STEPS_BY_AGENT = {'SAC': _MUJOCO_STEPS, 'DQN': _CLASSIC_STEPS}
_SPARSE = ('Static', 'SET', 'RigL', 'Pruning')
_METHODS = ('Dense', *_SPARSE)
_AT_80 = {'sparsity': 0.8, 'distribution': 'erdos_renyi_kernel'}


def _settings(*panels: settings.Panel, columns: int = 3):
  return settings.ReturnBySetting(panels, _STEPS_BY_AGENT, columns)


def _initializer(name: str, distribution: str) -> settings.Panel:
  return settings.Panel(
    f'Initialization, {name}',
    'sparsity-aware or default',
    'initializer',
    ('Static', 'SET', 'RigL'),
    {'sparsity': 0.8, 'distribution': distribution},
    ('sparsify.initializer',),
  )


def _within(
  title, distribution, keep_dense='', agent='SAC', task='HalfCheetah'
):
  """A panel of figure 14."""
  return settings.Panel(
    title,
    'sparsity',
    'sparsity',
    _SPARSE,
    {'distribution': distribution, 'keep_dense': keep_dense},
    ('sparsify.keep_dense', 'keep_dense'),
    agent=agent,
    task=task,
    level='Dense',
  )


def _sac_snr(network: str) -> snr.Panel:
  name = f'gradients/snr/{network}'
  return snr.Panel(f'SAC, {network}', 'SAC', name, _ALL_MUJOCO, _MUJOCO_STEPS)


_SOKAR_TASKS = ('HalfCheetah', 'Walker2d', 'Hopper', 'Ant', 'Humanoid')
_SOFT, _HARD = {'hard_targets': False}, {'hard_targets': True}


def _line(label, method=None, setting=None, **where):
  method = method or label
  agent = method.rpartition('-')[2]
  return curves.Line(label, agent, method, where, setting)


def _curves(*panels: curves.Panel, columns: int = 3) -> curves.LearningCurves:
  return curves.LearningCurves(panels, _MUJOCO_STEPS, columns)


def _by_task(*lines: curves.Line) -> curves.LearningCurves:
  return _curves(
    *(curves.Panel('{task}', task, lines) for task in _SOKAR_TASKS)
  )


def _table(score, decimals, with_std, *columns) -> score_table.ScoreTable:
  return score_table.ScoreTable(
    score, decimals, with_std, columns, _SOKAR_TASKS, _MUJOCO_STEPS
  )


_SYSTEMS = (
  score_table.Column('TD3', 'TD3', 'TD3'),
  score_table.Column('Static-TD3', 'TD3', 'Static-TD3'),
  score_table.Column('DS-TD3', 'TD3', 'DS-TD3'),
  score_table.Column('SAC', 'SAC', 'SAC'),
)
_HARD_SYSTEMS = (
  score_table.Column('SAC', 'SAC', 'SAC', hard_targets=True),
  score_table.Column('DS-SAC', 'SAC', 'DS-SAC', hard_targets=True),
)


FIGURES = {
  'graesser22/fig01': Entry(
    'Figure 1: IQM at 90 % sparsity',
    iqm.InterquartileMeans(
      (
        _iqm('SAC', 'SAC', 'MLP', 0.9, _ALL_MUJOCO),
        _iqm('PPO', 'PPO', 'MLP', 0.9, _ALL_MUJOCO),
        _iqm('DQN (CNN)', 'DQN', 'CNN', 0.9, _GAMES),
        _iqm('DQN (ResNet)', 'DQN', 'ResNet', 0.9, _GAMES),
      )
    ),
  ),
  'graesser22/fig02_dqn': Entry(
    'Figure 2, row 1: DQN (CNN) on Atari', _size(_atari('CNN', _THREE_GAMES))
  ),
  'graesser22/fig02_sac': Entry(
    'Figure 2, row 2: SAC on MuJoCo', _size(_sac(_MUJOCO))
  ),
  'graesser22/fig02_ppo': Entry(
    'Figure 2, row 3: PPO on MuJoCo', _size(_ppo(_MUJOCO))
  ),
  'graesser22/fig03': Entry(
    "Figure 3: the actor's share of the parameters, at three budgets, SAC",
    actor_share.ReturnByActorShare(_MUJOCO, (1.0, 0.2, 0.1), _MUJOCO_STEPS),
  ),
  'graesser22/fig04': Entry(
    'Figure 4: sensitivity of SAC at 80 % sparsity',
    _settings(
      settings.Panel(
        'Distribution',
        'distribution',
        'distribution',
        _SPARSE,
        {'sparsity': 0.8},
        level='Dense',
      ),
      settings.Panel(
        'Weight decay',
        'weight decay',
        'weight_decay',
        _METHODS,
        _AT_80,
        ('WEIGHT_DECAY',),
      ),
      _initializer('ERK', 'erdos_renyi_kernel'),
      _initializer('uniform', 'uniform'),
      columns=2,
    ),
  ),
  'graesser22/fig05': Entry(
    'Figure 5: signal-to-noise ratio of gradients',
    snr.SnrOverTraining(
      (
        snr.Panel('DQN', 'DQN', 'gradients/snr', _CLASSIC, _CLASSIC_STEPS),
        _sac_snr('actor'),
        _sac_snr('critic'),
      )
    ),
  ),
  'graesser22/fig06': Entry(
    'Figure 6: robustness to observation noise, DQN (CNN)',
    noise.ReturnByNoise(
      _THREE_GAMES,
      ('Dense', 'Small dense', 'SET', 'RigL'),
      (1.0, 0.5, 0.1),
      _ATARI_STEPS,
    ),
  ),
  'graesser22/fig07': Entry(
    'Figure 7: FLOPs by sparsity, MsPacman',
    flops.FlopsAgainstSparsity(
      tuple(
        flops.Panel(
          title,
          (f'gin_configs/graesser22/dqn_atari_{network}/static.gin',),
          ('GAME="MsPacman"',),
        )
        for title, network in (
          ('Nature CNN', 'cnn'),
          ('IMPALA ResNet', 'resnet'),
        )
      ),
      (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99),
    ),
  ),
  'graesser22/fig08': Entry(
    'Figure 8: DQN on classic control, ERK and uniform sparsity',
    _size(
      _classic('ERK, ', 'erdos_renyi_kernel'), _classic('Uniform, ', 'uniform')
    ),
  ),
  'graesser22/fig09': Entry(
    'Figure 9: SAC and PPO on Hopper and Ant',
    _size(_sac(_MORE_MUJOCO), _ppo(_MORE_MUJOCO)),
  ),
  'graesser22/fig10': Entry(
    'Figure 10: DQN (CNN) by game', _size(_atari('CNN', _GAMES))
  ),
  'graesser22/fig11': Entry(
    'Figure 11: DQN (ResNet) by game', _size(_atari('ResNet', _GAMES))
  ),
  'graesser22/fig12_dqn': Entry(
    'Figure 12, row 1: uniform sparsity, DQN (CNN) on Atari',
    _size(_atari('CNN', _THREE_GAMES, distribution='uniform')),
  ),
  'graesser22/fig12_sac': Entry(
    'Figure 12, row 2: uniform sparsity, SAC on MuJoCo',
    _size(_sac(_MUJOCO, distribution='uniform')),
  ),
  'graesser22/fig12_ppo': Entry(
    'Figure 12, row 3: uniform sparsity, PPO on MuJoCo',
    _size(_ppo(_MUJOCO, distribution='uniform')),
  ),
  'graesser22/fig13': Entry(
    'Figure 13: sensitivity of SAC at 80 % sparsity',
    _settings(
      settings.Panel(
        'Drop fraction',
        'drop fraction',
        'drop_fraction',
        ('SET', 'RigL'),
        _AT_80,
        ('SET.drop_fraction', 'RigL.drop_fraction'),
      ),
      settings.Panel(
        'Update interval',
        'gradient steps',
        'update_interval',
        ('SET', 'RigL', 'Pruning'),
        _AT_80,
        ('UpdateSchedule.interval',),
        level='Static',
      ),
      settings.Panel(
        'Batch size',
        'batch size',
        'batch_size',
        _METHODS,
        _AT_80,
        ('TransitionBuffer.batch_size',),
      ),
    ),
  ),
  'graesser22/fig14': Entry(
    'Figure 14: non-uniform (ERK) and uniform sparsity within networks',
    _settings(
      *(
        panel
        for name, distribution in (
          ('ERK', 'erdos_renyi_kernel'),
          ('Uniform', 'uniform'),
        )
        for panel in (
          _within(f'{name}: SAC, HalfCheetah, all layers', distribution),
          _within(f'{name}: last layers dense', distribution, '(output)'),
          _within(f'{name}: DQN, Acrobot', distribution, '', 'DQN', 'Acrobot'),
        )
      ),
    ),
  ),
  'graesser22/fig15': Entry(
    'Figure 15: IQM of SAC by sparsity',
    _iqm_by_sparsity(
      'SAC', 'MLP', _ALL_MUJOCO, {0.99: ('HalfCheetah', 'Hopper', 'Walker2d')}
    ),
  ),
  'graesser22/fig16': Entry(
    'Figure 16: IQM of PPO by sparsity',
    _iqm_by_sparsity(
      'PPO',
      'MLP',
      _ALL_MUJOCO,
      {
        0.95: ('Ant', 'HalfCheetah', 'Hopper', 'Walker2d'),
        0.99: ('HalfCheetah', 'Hopper', 'Walker2d'),
      },
    ),
  ),
  'graesser22/fig17': Entry(
    'Figure 17: IQM of DQN (CNN) by sparsity',
    _iqm_by_sparsity('DQN', 'CNN', _GAMES),
  ),
  'graesser22/fig18': Entry(
    'Figure 18: IQM of DQN (ResNet) by sparsity',
    _iqm_by_sparsity('DQN', 'ResNet', _GAMES),
  ),
  'sokar22/fig01': Entry(
    'Figure 1: learning curves',
    _by_task(
      _line('TD3'),
      _line('Static-TD3'),
      _line('DS-TD3'),
      _line('SAC', **_SOFT),
    ),
  ),
  'sokar22/fig02': Entry(
    'Figure 2: DS-TD3 by adaptation schedule (a) and sparsity (b)',
    _curves(
      curves.Panel(
        '(a) schedule e, {task}',
        'HalfCheetah',
        (
          _line('TD3', setting=0),
          *(
            _line(
              f'DS-TD3, e = {interval}',
              'DS-TD3',
              setting,
              update_interval=interval,
            )
            for setting, interval in enumerate((200, 500, 1000, 2000), 1)
          ),
        ),
        varied=('UpdateSchedule.interval',),
      ),
      curves.Panel(
        '(b) sparsity, {task}',
        'HalfCheetah',
        (
          _line('TD3', setting=0),
          _line('DS-TD3, 25 %', 'DS-TD3', 5, sparsity=0.25),
          # What the paper's λ give, .506, or SPARSITY=0.5.
          _line('DS-TD3, 50 %', 'DS-TD3', 3, sparsity=0.505),
          _line('DS-TD3, 80 %', 'DS-TD3', 6, sparsity=0.8),
        ),
        varied=('SPARSITY',),
      ),
      columns=2,
    ),
  ),
  'sokar22/fig03': Entry(
    'Figure 3: first samples drawn from policies trained for 5e5 (a) and 7e5 '
    'steps (b)',
    _curves(
      *(
        curves.Panel(
          f'({letter}) policy of {steps // 1000}k steps, {{task}}',
          'HalfCheetah',
          tuple(
            _line(method, initial_policy_share=steps / _MUJOCO_STEPS)
            for method in ('TD3', 'DS-TD3')
          ),
          varied=('saved_policy.run', 'initial_policy'),
        )
        for letter, steps in (('a', 500_000), ('b', 700_000))
      ),
      columns=2,
    ),
  ),
  'sokar22/fig04': Entry(
    'Figure 4: learning curves of SAC and DS-SAC, hard target updates',
    _by_task(_line('SAC', **_HARD), _line('DS-SAC')),
  ),
  'sokar22/costs': Entry(
    'Section 4.6: weights and training FLOPs, with the sparsities of table 3',
    cost_table.CostTable(
      tuple(
        cost_table.System(
          agent, f'DS-{agent}', (f'gin_configs/sokar22/{path}.gin',)
        )
        for agent, path in (('TD3', 'td3/ds_td3'), ('SAC', 'sac/ds_sac'))
      ),
      tuple(f'{task}-v4' for task in _SOKAR_TASKS),
    ),
  ),
  'sokar22/table01': Entry(
    'Table 1: mean return of the last 10 evaluations',
    _table('final_score', 2, True, *_SYSTEMS),
  ),
  'sokar22/table02': Entry(
    'Table 2: learning curve area',
    _table('learning_curve_area_per_step', 4, False, *_SYSTEMS),
  ),
  'sokar22/table04': Entry(
    'Table 4: learning curve area, hard target updates',
    _table('learning_curve_area_per_step', 4, False, *_HARD_SYSTEMS),
  ),
  'sokar22/table05': Entry(
    'Table 5: mean return of the last 10 evaluations, hard target updates',
    _table('final_score', 2, True, *_HARD_SYSTEMS),
  ),
}
