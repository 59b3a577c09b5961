"""A sparse algorithm of your own, beside RigL on the same task.

python examples/own_algorithm.py

On the command line such a class lives in a module, and a gin file names both:
see docs/algorithms.md.
"""

import tempfile

import gin
import tensorflow as tf

import rigl_rl


@gin.configurable
class SaliencyRigL(rigl_rl.RigL):
  """Drops the smallest |weight · gradient|; grows as RigL does."""

  def drop_score(self, weight, mask, grad, seed):
    del mask, seed
    return tf.abs(weight * grad)


def train(algorithm, directory):
  return rigl_rl.train(
    'gin_configs/graesser22/dqn_classic/rigl.gin',
    {
      'sparsify.algorithm': f'@{algorithm}()',
      f'{algorithm}.drop_fraction': 0.3,
      # A miniature: the file trains 100,000 steps, and moves weights less
      'TRAIN_STEPS': 1500,
      'INITIAL_COLLECT_STEPS': 500,
      'DopamineRunner.evaluation_period': 500,
      'DopamineRunner.evaluation_episodes': 5,
      'UpdateSchedule.interval': 100,
    },
    f'{directory}/{algorithm}',
  )


def main():
  masks = {}
  with tempfile.TemporaryDirectory() as directory:
    for algorithm in ('RigL', 'SaliencyRigL'):
      run = train(algorithm, directory)
      print(algorithm)
      print(run.evaluations[['step', 'return_mean']].to_string(index=False))
      layers = rigl_rl.named_layers(run.networks['online'])
      mask = masks[algorithm] = layers['dense2'].mask.numpy()
      print(f'{1 - mask.mean():.1%} of {mask.size:,} weights are zero')
  both = (masks['RigL'] * masks['SaliencyRigL']).sum()
  shared = both / masks['RigL'].sum()
  print(f'{shared:.0%} of the active weights of layer dense2 are the same')


if __name__ == '__main__':
  main()
