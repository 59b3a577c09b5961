"""The command, with runs that train."""

import json
import pathlib
import subprocess

import pytest

from helpers import fake_sweeps
from rigl_rl.commands import sweep as command

# Twelve short runs of a small network.
_TINY = """
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {'SPARSITY': (0.5, 0.8, 0.9), 'SEED': (0, 1, 2, 3)}
rigl/Grid.bindings = {
    'TRAIN_STEPS': 3000,
    'MLPQNetwork.hidden_units': (16, 16),
    'SparseDQNAgent.batch_size': 16,
    'SparseDQNAgent.min_replay_history': 200,
    'UpdateSchedule.interval': 100,
    'DopamineRunner.evaluation_period': 300,
    'DopamineRunner.evaluation_episodes': 2,
}
Sweep.grids = [@rigl/Grid()]
"""


# What a summary says of time, not of training.
_TIMES = ('seconds',)


class _RealProject(fake_sweeps.Project):
  """Trains by launch.train."""

  def __init__(self, directory: pathlib.Path):
    super().__init__(directory, _TINY)
    self.driver.write_text(
      'import sys\n'
      'from rigl_rl.commands import sweep\n'
      'sys.exit(sweep.main(sys.argv[2:]))\n'
    )

  def results(self) -> dict[str, tuple[str, dict]]:
    """What each finished run came to."""
    found = {}
    for path in self.base.rglob('summary.json'):
      summary = json.loads(path.read_text())
      for name in _TIMES:
        del summary[name]
      name = path.parent.relative_to(self.base).as_posix()
      found[name] = ((path.parent / 'evaluations.csv').read_text(), summary)
    return found

  def begun(self) -> dict[str, int]:
    """How many processes have trained each run."""
    return {
      run.relative_to(self.base).as_posix(): sum(
        line.startswith('$ ') for line in self.lines(run, 'train.log')
      )
      for run in self.runs()
    }

  def kill_after(self, finished: int, *more: str) -> None:
    """Runs the sweep until so many runs are finished; kills it with -9."""
    process = self.start(*more)
    self.wait_for(
      lambda: len(self.results()) >= finished and self.under_way(), 900
    )
    process.kill()
    process.communicate()
    # Its runs end with it: nothing writes here any more.
    self.wait_for(lambda: not _is_trained_in(self.base), 60)


def _is_trained_in(directory: pathlib.Path) -> bool:
  """Whether there is a process that has a run there."""
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      command = (path / 'cmdline').read_bytes()
    except OSError:
      continue
    if f'--base_dir={directory}/'.encode() in command and fake_sweeps.is_alive(
      path.name
    ):
      return True
  return False


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Results of the twelve runs, by a sweep that nothing disturbs."""
  project = _RealProject(tmp_path_factory.mktemp('undisturbed'))
  assert command.main(project.arguments('--workers=2')) == 0
  assert set(project.begun().values()) == {1}
  results = project.results()
  assert len(results) == 12
  # They are twelve different ones.
  assert len({evaluations for evaluations, _ in results.values()}) == 12
  return results


@pytest.mark.slow
def test_a_real_sweep_killed_twice(undisturbed, tmp_path):
  project = _RealProject(tmp_path)
  for finished in (2, 6):
    project.kill_after(finished, '--workers=2')
    before, begun = project.results(), project.begun()
    assert finished <= len(before) < 12
  process = project.start('--workers=2')
  out, _ = process.communicate(timeout=900)
  assert process.returncode == 0, out
  assert f'12 runs, {len(before)} of them finished before' in out
  assert project.results() == undisturbed
  # Finished runs are not trained again, and interrupted ones continued.
  after = project.begun()
  assert all(after[name] == begun[name] for name in before)
  assert max(after.values()) > 1


@pytest.mark.slow
def test_a_real_sweep_through_ray(undisturbed, tmp_path):
  pytest.importorskip('ray')
  project = _RealProject(tmp_path)
  process = project.start('--executor=ray', '--workers=2')
  out, _ = process.communicate(timeout=1800)
  assert process.returncode == 0, out
  assert project.results() == undisturbed
  assert set(project.begun().values()) == {1}


@pytest.mark.slow
def test_the_printed_command_trains_the_same_run(undisturbed, tmp_path):
  project = _RealProject(tmp_path)
  more = ['--workers=1', '--seeds=1', '--filter=SPARSITY=0.5']
  assert command.main(project.arguments(*more)) == 0
  ((name, result),) = project.results().items()
  assert result == undisturbed[name]
  log = (project.base / name / 'train.log').read_text().splitlines()[0]
  again = log[2:].replace(str(project.base), str(tmp_path / 'again'))
  subprocess.run(
    again, shell=True, check=True, cwd=fake_sweeps.ROOT, capture_output=True
  )
  evaluations = tmp_path / 'again' / name / 'evaluations.csv'
  assert evaluations.read_text() == result[0]


@pytest.mark.parametrize(
  'binding,part',
  [
    ('RigL.drop_fraction=30', 'Did you mean 0.3?'),
    ('RigL.drop_fracton=0.5', 'drop_fraction'),
    ('adam.learning_rate=%NOPE', 'NOPE is not bound'),
  ],
)
def test_binding_that_runs_refuse_is_refused_at_once(
  binding, part, tmp_path, capsys
):
  flags = ['--sweep=graesser22/fig10', f'--base_dir={tmp_path / "runs"}']
  code = command.main([*flags, f'--gin_bindings={binding}'])
  assert code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ') and part in line
  assert not list(tmp_path.iterdir())
