"""Every figure takes in all runs of its own sweep file, and says so.

The runs are the sweep files' own, one seed of each, with made-up results.
"""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis, sweeps, tasks
from rigl_rl.analysis import figures
from rigl_rl.config import gin_text
from rigl_rl.sweeps import definition

# Figure 6 draws what launch.evaluate leaves, see noise_test; the searches are
# no figures.
_FIGURES = [
  name
  for name in definition.shipped()
  if name != 'graesser22/fig06' and '/search' not in name
]
_KINDS = {
  'dqn_classic': ('DQN', 'MLP'),
  'dqn_atari_cnn': ('DQN', 'CNN'),
  'dqn_atari_resnet': ('DQN', 'ResNet'),
  'sac': ('SAC', 'MLP'),
  'ppo': ('PPO', 'MLP'),
  'td3': ('TD3', 'MLP'),
}
# Two games represent all fifteen.
_GAMES = ('Pong', 'MsPacman')
_FEWER_GAMES = 'GAME!=' + '|'.join(
  game for game in tasks.GRAESSER22_GAMES if game not in _GAMES
)


def _runs(name: str) -> list[sweeps.Run]:
  sweep = sweeps.load(name)
  runs = sweep.runs(seeds=[0])
  if any('GAME' in run.values for run in runs):
    runs = sweep.runs(seeds=[0], filters=[_FEWER_GAMES])
  return runs


def _config(run: sweeps.Run) -> str:
  """The run's config.gin."""
  config = gin_text.Config(run.gin_files, run.gin_bindings('/base'))
  return ''.join(f'{k} = {value!r}\n' for k, value in config.bindings.items())


def _sparsity(run: sweeps.Run) -> float:
  sparsity = run.values.get('SPARSITY')
  if sparsity is None:
    return 0.505 if run.label.startswith(('DS', 'Static-')) else 0.9
  return sparsity


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """All figures' runs in one base directory."""
  base = tmp_path_factory.mktemp('base')
  found = {run.directory: run for name in _FIGURES for run in _runs(name)}
  for directory, run in found.items():
    agent, network = _KINDS[run.family]
    label = run.label.removeprefix('Policy of ').removesuffix(' (hard targets)')
    path = synthetic_runs.write_run(
      base / directory,
      label,
      agent,
      network=network,
      sparsity=_sparsity(run),
      train_steps=run.train_steps,
      evaluations=2,
      actor_share=run.values.get('Budget.actor_share'),
    )
    synthetic_runs.write_config(path, _config(run))
    (path / 'sweep.json').write_text(json.dumps(run.description()))
    if any('gradient_snr' in name for name, _ in run.changes):
      names = ('snr', 'snr/actor', 'snr/critic')
      scalars = {f'gradients/{name}': 0.1 for name in names}
      synthetic_runs.write_events(path, [(1000, scalars)])
  return analysis.load(base)


def test_all_runs_are_read(results):
  assert not len(results.problems)
  assert len(results.runs) > 500
  assert results.runs.finished.all()
  # The labels of sweep files are the methods that figures know, but for dense
  # networks of figure 3, which are as large, and of other widths.
  runs = results.runs[results.runs.budget.isna()]
  labels = [
    label.removeprefix('Policy of ').removesuffix(' (hard targets)')
    for label in runs.label
  ]
  assert labels == list(runs.method)
  papers = runs.directory.str.contains('/sokar22/').map(
    {True: 'sokar22', False: 'graesser22'}
  )
  assert list(papers) == list(runs.paper)


@pytest.mark.parametrize('name', _FIGURES)
def test_a_complete_sweep_makes_a_complete_figure(name, results):
  runs = _runs(name)
  needed = {need for run in runs for need in run.needs}
  planned = sum(run.directory not in needed for run in runs)
  options = figures.Options(planned={name: planned}, resamples=2)
  base = os.path.commonpath(list(results.runs.directory))
  directories = [os.path.join(base, run.directory) for run in runs]
  own = dataclasses.replace(
    results, runs=results.runs[results.runs.directory.isin(directories)]
  )
  # Panels of the other games are not drawn.
  of_games = any('GAME' in run.values for run in runs)

  def notes_of(results):
    notes = figures.draw(name, results, options).notes
    return notes[:-1] if of_games and 'Not drawn' in notes[-1] else notes

  assert list(notes_of(own)) == [f'{planned:,} of {planned:,} runs.']
  # Runs of other figures beside them push none of them out.
  notes = notes_of(results)
  assert len(notes) == 1
  assert int(notes[0].split()[0].replace(',', '')) >= planned
