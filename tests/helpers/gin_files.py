"""The shipped gin files: their names, and the runs that they build."""

import pathlib

import gin

from rigl_rl.config import parsing
from rigl_rl.training import run_directory

_ROOT = pathlib.Path(__file__).parents[2] / 'gin_configs'
METHODS = ('dense', 'prune', 'static', 'set', 'rigl')
# Classes of the algorithms, by the file in gin_configs/algorithms.
ALGORITHMS = {
  'dense': 'Dense',
  'prune': 'Prune',
  'static': 'Static',
  'set': 'SET',
  'rigl': 'RigL',
  'ds': 'DS',
}
# MuJoCo tasks: values of an observation and of an action.
TASKS = {
  'HalfCheetah': (17, 6),
  'Hopper': (11, 3),
  'Walker2d': (17, 6),
  'Ant': (111, 8),
  'Humanoid': (376, 17),
}


def name_of(*parts):
  """Returns the name of a file from its folders and its stem."""
  return '/'.join(('gin_configs', *parts)) + '.gin'


def shipped():
  """Returns the paths of all files, which begin with gin_configs/."""
  return [
    pathlib.PurePosixPath(path.relative_to(_ROOT.parent).as_posix())
    for path in _ROOT.glob('**/*.gin')
  ]


def parse(*files, bindings=()):
  """Parses files, each given by its parts, and bindings after them."""
  gin.clear_config()
  parsing.parse([name_of(*parts) for parts in files], bindings)


def build(tmp_path):
  """Builds what the parsed config says, as a run would, with fewer episodes."""
  runner = gin.query_parameter('train.runner').configurable.name
  with gin.unlock_config():
    gin.bind_parameter(f'{runner}.evaluation_episodes', 1)
  return gin.get_configurable(runner)(
    run_directory.RunDirectory(str(tmp_path)),
    seed=gin.query_parameter('%SEED'),
    train_steps=gin.query_parameter('%TRAIN_STEPS'),
  )
