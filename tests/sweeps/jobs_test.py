"""A planned run takes on what the run.json of its directory says."""

from __future__ import annotations

from rigl_rl.config import gin_text
from rigl_rl.sweeps import runs
from rigl_rl.sweeps.executors import jobs
from rigl_rl.training import attributes, record

_DQN = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'


def _write_record(path, gin_file, **changes):
  described = attributes.describe(gin_text.Config([gin_file]))
  rest = {'title': '', 'modules_from': '', 'networks': {}, 'made_with': []}
  record.write_json(str(path), {**described, **rest, **changes})


def test_a_run_is_what_its_record_says(tmp_path):
  (run,) = runs.Grid('RigL', [_DQN], {'SEED': 1}).runs('mine', scale=0.5)
  assert (run.train_steps, run.family) == (50000, 'dqn_classic')
  assert jobs.as_recorded(run, str(tmp_path)) == run
  # Extended meanwhile.
  _write_record(tmp_path / 'run.json', _DQN, train_steps=70000)
  found = jobs.as_recorded(run, str(tmp_path))
  assert (found.train_steps, found.family) == (70000, 'dqn_classic')
  # What was asked for stays.
  assert found.gin_bindings() == run.gin_bindings()
  assert found.description() == run.description()
  rows = 'step,return_mean\n20000,1.0\n60000,2.0\n'
  (tmp_path / 'evaluations.csv').write_text(rows)
  assert jobs.Job(found, str(tmp_path), ()).steps_done() == 60000


def test_the_family_of_a_record(tmp_path):
  (run,) = runs.Grid('RigL', [_DQN], {'SEED': 1}).runs('mine')
  for gin_file, family in (
    (_SAC, 'sac'),
    ('gin_configs/graesser22/ppo_mujoco/rigl.gin', 'ppo'),
    ('gin_configs/sokar22/td3/ds_td3.gin', 'td3'),
    ('gin_configs/graesser22/dqn_atari_resnet/rigl.gin', 'dqn_atari_resnet'),
  ):
    _write_record(tmp_path / 'run.json', gin_file)
    assert jobs.as_recorded(run, str(tmp_path)).family == family
  _write_record(tmp_path / 'run.json', _DQN, agent='MyAgent')
  assert jobs.as_recorded(run, str(tmp_path)).family is None


def test_a_torn_record_leaves_the_plan(tmp_path):
  (run,) = runs.Grid('RigL', [_DQN], {'SEED': 1}).runs('mine')
  (tmp_path / 'run.json').write_text('{"agent": "DQ')
  assert jobs.as_recorded(run, str(tmp_path)) == run
