"""The runs of a sweep, read as tables and plotted.

python examples/sweep_and_plot.py [RUNS [PICTURE]]

RUNS is any directory of runs, such as the --base_dir of `launch.sweep`. Without
it four short runs are trained first.
"""

import sys
import tempfile

import matplotlib.pyplot as plt

import rigl_rl


def train_some(directory):
  """Trains two methods with two seeds each, as miniatures."""
  for method in ('static', 'rigl'):
    for seed in (0, 1):
      rigl_rl.train(
        f'gin_configs/graesser22/dqn_classic/{method}.gin',
        {
          'SEED': seed,
          'TRAIN_STEPS': 1000,
          'INITIAL_COLLECT_STEPS': 200,
          'DopamineRunner.evaluation_period': 250,
          'DopamineRunner.evaluation_episodes': 5,
        },
        f'{directory}/{method}/seed{seed}',
      )


def plot(evaluations, path):
  """Draws the mean return per method, and the range of its seeds."""
  figure, axes = plt.subplots(figsize=(5, 3.5), layout='constrained')
  for method, rows in evaluations.groupby('method'):
    returns = rows.groupby('step').return_mean
    (line,) = axes.plot(returns.mean(), label=method)
    axes.fill_between(
      returns.mean().index,
      returns.min(),
      returns.max(),
      alpha=0.2,
      color=line.get_color(),
    )
  axes.set(xlabel='environment steps', ylabel='return')
  axes.legend()
  figure.savefig(path, dpi=150)
  plt.close(figure)


def main(directory, path):
  # Two pandas tables: one row per evaluation, one row per run.
  runs = rigl_rl.load_runs(directory)
  scores = runs.runs.groupby(['task', 'method', 'sparsity']).final_score
  print(scores.agg(['mean', 'min', 'max', 'count']))
  plot(runs.evaluations, path)
  print(f'plotted {len(runs)} runs: {path}')


if __name__ == '__main__':
  if len(sys.argv) > 1:
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else 'sweep.png')
  else:
    with tempfile.TemporaryDirectory() as temporary:
      train_some(temporary)
      main(temporary, f'{temporary}/sweep.png')
