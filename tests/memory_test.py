"""A lack of memory is blamed on the largest sizes that are bound."""

from __future__ import annotations

import pytest

from rigl_rl import memory

_SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'


class ResourceExhaustedError(Exception):
  """As TensorFlow's is called."""


@pytest.mark.parametrize('kind', [MemoryError, ResourceExhaustedError])
def test_the_largest_sizes_are_named(kind, user_error):
  bindings = [
    'Critic.hidden_units = (90000, 100000)',
    'Critic.width = 99.5',
    'TransitionBuffer.batch_size = 64',
    'SquashedGaussianActor.hidden_units = (8, 8)',
    'ActorCriticLoop.evaluation_episodes = 3',
    'TRAIN_STEPS = 9000000',
  ]
  with user_error(
    'not enough memory: no 8 TiB. The largest sizes bound are '
    'TransitionBuffer.capacity = 1000000, '
    'Critic.hidden_units = (90000, 100000), Critic.width = 99.5.',
  ):
    with memory.blame_sizes([_SAC], bindings):
      raise kind('{{node x}} no 8 TiB on /job:0 by allocator [Op:y]\nat all')


def test_other_errors_pass():
  with pytest.raises(KeyError):
    with memory.blame_sizes([_SAC], []):
      raise KeyError('x')
