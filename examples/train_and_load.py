"""A run from a gin file, trained and loaded again.

python examples/train_and_load.py [RUN]
"""

import sys
import tempfile

import numpy as np

import rigl_rl


def main(base_dir):
  run = rigl_rl.train(
    'gin_configs/graesser22/dqn_classic/rigl.gin',
    {
      'SPARSITY': 0.95,
      'SEED': 3,
      # A miniature: the file trains 100,000 steps.
      'TRAIN_STEPS': 2000,
      'INITIAL_COLLECT_STEPS': 500,
      'DopamineRunner.evaluation_period': 500,
      'sparsify.distribution': '@uniform',
    },
    base_dir,
  )
  print(run.evaluations[['step', 'return_mean', 'return_std']])
  print(run.info[['task', 'method', 'sparsity', 'final_score']])

  # Later, in any process:
  run = rigl_rl.load_run(base_dir)
  print(f'by the checkpoint of step {run.step:,}:')
  observations = np.zeros((5, *run.policy.observation_shape))
  print(f'one action: {run.policy(observations[0])}')
  print(f'five actions: {run.policy(observations)}')
  for name, layer in rigl_rl.named_layers(run.networks['online']).items():
    kernel = layer.kernel.numpy()
    print(f'{name}: {(kernel == 0).mean():.1%} of {kernel.shape} are zero')

  # All runs in a directory, such as those of a sweep, as tables.
  runs = rigl_rl.load_runs(base_dir)
  print(runs.runs[['method', 'seed', 'final_score', 'parameters']])


if __name__ == '__main__':
  if len(sys.argv) > 1:
    main(sys.argv[1])
  else:
    with tempfile.TemporaryDirectory() as directory:
      main(f'{directory}/run')
