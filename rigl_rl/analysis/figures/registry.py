"""The papers' figures and tables, by the name of their sweep file."""

from __future__ import annotations

import dataclasses

from rigl_rl import tasks
from rigl_rl.analysis.figures import (
  actor_share,
  base,
  counted,
  curves,
  iqm,
  noise,
  score_table,
  settings,
  size,
  snr,
)

_PAPERS = {
  'graesser22': 'Graesser et al. (2022)',
  'sokar22': 'Sokar et al. (2022)',
}
_CLASSIC = ('CartPole', 'Acrobot', 'MountainCar')
_MUJOCO = ('HalfCheetah', 'Walker2d', 'Humanoid')
_MORE_MUJOCO = ('Hopper', 'Ant')
_ALL_MUJOCO = (*_MUJOCO, *_MORE_MUJOCO)
_GAMES = tasks.GRAESSER22_GAMES
_THREE_GAMES = _GAMES[:3]
_SOKAR_TASKS = ('HalfCheetah', 'Walker2d', 'Hopper', 'Ant', 'Humanoid')
_SPARSE = ('Static', 'SET', 'RigL', 'Pruning')
_METHODS = ('Dense', *_SPARSE)
_RETURN, _AREA = 'final_score', 'learning_curve_area_per_step'
_AT_80 = {'sparsity': 0.8, 'distribution': 'erdos_renyi_kernel'}


def _sac(tasks, **kwargs):
  return base.Panel('SAC, ', 'SAC', 'MLP', tasks, **kwargs)


def _ppo(tasks, **kwargs):
  return base.Panel('PPO, ', 'PPO', 'MLP', tasks, **kwargs)


def _atari(network, tasks, **kwargs):
  return base.Panel('', 'DQN', network, tasks, **kwargs)


def _by_agent(number: int, words: str, **kwargs) -> dict[str, base.Kind]:
  """Figures 2 and 12: one row of panels per agent."""
  rows = (
    ('dqn', 'DQN (CNN) on Atari', _atari('CNN', _THREE_GAMES, **kwargs)),
    ('sac', 'SAC on MuJoCo', _sac(_MUJOCO, **kwargs)),
    ('ppo', 'PPO on MuJoCo', _ppo(_MUJOCO, **kwargs)),
  )
  return {
    f'graesser22/fig{number:02}_{name}': size.ReturnAgainstSize(
      f'Figure {number}, row {index}: {words}{title}', (row,)
    )
    for index, (name, title, row) in enumerate(rows, 1)
  }


def _iqm_by_sparsity(title, agent, network, *by_sparsity):
  """Panels of 50, 90, 95 and 99 %, each with its tasks."""
  panels = (
    base.Panel(f'{100 * x:g} %', agent, network, tasks, sparsity=x)
    for x, tasks in zip((0.5, 0.9, 0.95, 0.99), by_sparsity)
  )
  return iqm.InterquartileMeans(title, tuple(panels))


def _initializer(name: str, distribution: str) -> settings.Panel:
  return settings.Panel(
    f'Initialization, {name}',
    'initializer',
    ('Static', 'SET', 'RigL'),
    {'sparsity': 0.8, 'distribution': distribution},
    ('initializer',),
  )


def _within(
  title, distribution, keep_dense='', agent='SAC', task='HalfCheetah'
):
  """A panel of figure 14."""
  where = {'distribution': distribution, 'keep_dense': keep_dense}
  return settings.Panel(
    *(title, 'sparsity', _SPARSE, where, ('keep_dense',)),
    agent=agent,
    task=task,
    level='Dense',
  )


def _snr(title: str, agent: str, tasks: tuple[str, ...], network: str):
  scalar = f'gradients/snr/{network}'
  return base.Panel(title, agent, 'MLP', tasks, scalar=scalar)


# Systems of Sokar et al., in figures and tables.
_SYSTEMS = tuple(
  curves.Line(method, method, {'hard_targets': False})
  for method in ('TD3', 'Static-TD3', 'DS-TD3', 'SAC')
)
_HARD_SYSTEMS = tuple(
  curves.Line(method, method, {'hard_targets': True})
  for method in ('SAC', 'DS-SAC')
)
_DENSE_TD3 = curves.Line('TD3', 'TD3', setting=0)


def _ds_td3(setting: int, label: str, **where: float) -> curves.Line:
  return curves.Line(f'DS-TD3, {label}', 'DS-TD3', where, setting)


def _by_task(title: str, lines: tuple[curves.Line, ...]) -> base.Kind:
  panels = (curves.Panel('{task}', task, lines) for task in _SOKAR_TASKS)
  return curves.LearningCurves(title, tuple(panels))


def _continued(letter: str, thousands: int) -> curves.Panel:
  """A panel of figure 3."""
  share = {'initial_policy_share': thousands / 1000}
  return curves.Panel(
    f'({letter}) policy of {thousands}k steps, {{task}}',
    'HalfCheetah',
    tuple(curves.Line(m, m, share) for m in ('TD3', 'DS-TD3')),
    ('saved_policy.run', 'initial_policy'),
  )


def _table(title: str, score: str, columns: tuple[curves.Line, ...]):
  return score_table.ScoreTable(title, score, columns, _SOKAR_TASKS)


_KINDS = {
  'graesser22/fig01': iqm.InterquartileMeans(
    'Figure 1: IQM at 90 % sparsity',
    (
      base.Panel('SAC', 'SAC', 'MLP', _ALL_MUJOCO, sparsity=0.9),
      base.Panel('PPO', 'PPO', 'MLP', _ALL_MUJOCO, sparsity=0.9),
      base.Panel('DQN (CNN)', 'DQN', 'CNN', _GAMES, sparsity=0.9),
      base.Panel('DQN (ResNet)', 'DQN', 'ResNet', _GAMES, sparsity=0.9),
    ),
  ),
  **_by_agent(2, ''),
  'graesser22/fig03': actor_share.ReturnByActorShare(
    "Figure 3: the actor's share of the parameters, at three budgets, SAC",
    _MUJOCO,
    (1.0, 0.2, 0.1),
  ),
  'graesser22/fig04': settings.ReturnBySetting(
    'Figure 4: sensitivity of SAC at 80 % sparsity',
    (
      settings.Panel(
        *('Distribution', 'distribution', _SPARSE, {'sparsity': 0.8}),
        level='Dense',
      ),
      settings.Panel(
        *('Weight decay', 'weight_decay', _METHODS, _AT_80, ('weight_decay',))
      ),
      _initializer('ERK', 'erdos_renyi_kernel'),
      _initializer('uniform', 'uniform'),
    ),
    columns=2,
  ),
  'graesser22/fig05': snr.SnrOverTraining(
    'Figure 5: signal-to-noise ratio of gradients',
    (
      _snr('DQN', 'DQN', _CLASSIC, 'online'),
      _snr('SAC, actor', 'SAC', _ALL_MUJOCO, 'actor'),
      _snr('SAC, critic', 'SAC', _ALL_MUJOCO, 'critic'),
    ),
  ),
  'graesser22/fig06': noise.ReturnByNoise(
    'Figure 6: robustness to observation noise, DQN (CNN)',
    _THREE_GAMES,
    ('Dense', 'Small dense', 'SET', 'RigL'),
    (1.0, 0.5, 0.1),
  ),
  'graesser22/fig07': counted.FlopsAgainstSparsity(
    'Figure 7: FLOPs by sparsity, MsPacman',
    {
      'Nature CNN': 'gin_configs/graesser22/dqn_atari_cnn/static.gin',
      'IMPALA ResNet': 'gin_configs/graesser22/dqn_atari_resnet/static.gin',
    },
    'GAME="MsPacman"',
    (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99),
  ),
  'graesser22/fig08': size.ReturnAgainstSize(
    'Figure 8: DQN on classic control, ERK and uniform sparsity',
    (
      base.Panel('ERK, ', 'DQN', 'MLP', _CLASSIC),
      base.Panel('Uniform, ', 'DQN', 'MLP', _CLASSIC, 'uniform'),
    ),
  ),
  'graesser22/fig09': size.ReturnAgainstSize(
    'Figure 9: SAC and PPO on Hopper and Ant',
    (_sac(_MORE_MUJOCO), _ppo(_MORE_MUJOCO)),
  ),
  'graesser22/fig10': size.ReturnAgainstSize(
    'Figure 10: DQN (CNN) by game', (_atari('CNN', _GAMES),)
  ),
  'graesser22/fig11': size.ReturnAgainstSize(
    'Figure 11: DQN (ResNet) by game', (_atari('ResNet', _GAMES),)
  ),
  **_by_agent(12, 'uniform sparsity, ', distribution='uniform'),
  'graesser22/fig13': settings.ReturnBySetting(
    'Figure 13: sensitivity of SAC at 80 % sparsity',
    (
      settings.Panel(
        *('Drop fraction', 'drop_fraction', ('SET', 'RigL'), _AT_80),
        ('drop_fraction',),
      ),
      settings.Panel(
        *('Update interval', 'update_interval', ('SET', 'RigL', 'Pruning')),
        *(_AT_80, ('interval',)),
        level='Static',
      ),
      settings.Panel(
        *('Batch size', 'batch_size', _METHODS, _AT_80, ('batch_size',))
      ),
    ),
  ),
  'graesser22/fig14': settings.ReturnBySetting(
    'Figure 14: non-uniform (ERK) and uniform sparsity within networks',
    tuple(
      panel
      for name, rule in (('ERK', 'erdos_renyi_kernel'), ('Uniform', 'uniform'))
      for panel in (
        _within(f'{name}: SAC, HalfCheetah, all layers', rule),
        _within(f'{name}: last layers dense', rule, '(output)'),
        _within(f'{name}: DQN, Acrobot', rule, '', 'DQN', 'Acrobot'),
      )
    ),
  ),
  'graesser22/fig15': _iqm_by_sparsity(
    *('Figure 15: IQM of SAC by sparsity', 'SAC', 'MLP'),
    *[_ALL_MUJOCO] * 3,
    ('HalfCheetah', 'Hopper', 'Walker2d'),
  ),
  'graesser22/fig16': _iqm_by_sparsity(
    *('Figure 16: IQM of PPO by sparsity', 'PPO', 'MLP'),
    *[_ALL_MUJOCO] * 2,
    ('Ant', 'HalfCheetah', 'Hopper', 'Walker2d'),
    ('HalfCheetah', 'Hopper', 'Walker2d'),
  ),
  'graesser22/fig17': _iqm_by_sparsity(
    'Figure 17: IQM of DQN (CNN) by sparsity', 'DQN', 'CNN', *[_GAMES] * 4
  ),
  'graesser22/fig18': _iqm_by_sparsity(
    'Figure 18: IQM of DQN (ResNet) by sparsity', 'DQN', 'ResNet', *[_GAMES] * 4
  ),
  'sokar22/fig01': _by_task('Figure 1: learning curves', _SYSTEMS),
  'sokar22/fig02': curves.LearningCurves(
    'Figure 2: DS-TD3 by adaptation schedule (a) and sparsity (b)',
    (
      curves.Panel(
        '(a) schedule e, {task}',
        'HalfCheetah',
        (
          _DENSE_TD3,
          *(
            _ds_td3(setting, f'e = {interval}', update_interval=interval)
            for setting, interval in enumerate((200, 500, 1000, 2000), 1)
          ),
        ),
        ('interval',),
      ),
      curves.Panel(
        '(b) sparsity, {task}',
        'HalfCheetah',
        (
          _DENSE_TD3,
          _ds_td3(5, '25 %', sparsity=0.25),
          # What the paper's λ give, .506, or SPARSITY=0.5.
          _ds_td3(3, '50 %', sparsity=0.505),
          _ds_td3(6, '80 %', sparsity=0.8),
        ),
        ('SPARSITY',),
      ),
    ),
    columns=2,
  ),
  'sokar22/fig03': curves.LearningCurves(
    'Figure 3: first samples drawn from policies trained for 5e5 (a) and 7e5 '
    'steps (b)',
    (_continued('a', 500), _continued('b', 700)),
    columns=2,
  ),
  'sokar22/fig04': _by_task(
    'Figure 4: learning curves of SAC and DS-SAC, hard target updates',
    _HARD_SYSTEMS,
  ),
  'sokar22/costs': counted.CostTable(
    'Section 4.6: weights and training FLOPs, with the sparsities of table 3',
    {
      'TD3': 'gin_configs/sokar22/td3/ds_td3.gin',
      'SAC': 'gin_configs/sokar22/sac/ds_sac.gin',
    },
    tuple(f'{task}-v4' for task in _SOKAR_TASKS),
  ),
  'sokar22/table01': _table(
    *('Table 1: mean return of the last 10 evaluations', _RETURN, _SYSTEMS)
  ),
  'sokar22/table02': _table('Table 2: learning curve area', _AREA, _SYSTEMS),
  'sokar22/table04': _table(
    *('Table 4: learning curve area, hard target updates', _AREA, _HARD_SYSTEMS)
  ),
  'sokar22/table05': _table(
    'Table 5: mean return of the last 10 evaluations, hard target updates',
    *(_RETURN, _HARD_SYSTEMS),
  ),
}
# Titles begin with the paper.
FIGURES = {
  name: dataclasses.replace(
    kind, title=f'{_PAPERS[name.partition("/")[0]]}. {kind.title}.'
  )
  for name, kind in _KINDS.items()
}
