"""From run directories to tidy tables, IQM, and the papers' figures.

  from rigl_rl import analysis

  results = analysis.load('runs')
  results.runs.groupby(['task', 'label']).final_score.mean()

Nothing here imports TensorFlow, but where a path is a URL.
"""

from rigl_rl.analysis.tables import Results as Results
from rigl_rl.analysis.tables import load as load
from rigl_rl.analysis.tables import save as save
