"""Scores that can be averaged over tasks.

Graesser et al. (2022, figure 1): "Atari scores were normalized using human
performance per game. MuJoCo scores were normalized using the average returns
obtained by the Dense: 100% SAC agent per game."
"""

from __future__ import annotations

import math
import re
from typing import Mapping

from dopamine.labs.atari_100k import normalization_utils

from rigl_rl import readers, tasks
from rigl_rl.errors import UserError

_HUMAN = normalization_utils.ATARI_HUMAN_SCORES


def family(task: str) -> str:
  """Returns a task without its version: 'Walker2d' for 'Walker2d-v4'."""
  return re.sub(r'-v\d+$', '', task)


def human_normalized(score: float, game: str) -> float:
  """Returns a game's return as a share of a human's.

  The scores are Dopamine's, as Agarwal et al. (2021), the authors of rliable,
  normalize by them: the human ones of Wang et al. (2016, "Dueling network
  architectures", table 2, up to 30 no-ops), who extend Mnih et al. (2015,
  extended data table 2). For VideoPinball they have 0 as random; Wang et al.
  have 16256.9, just below the human 17667.9, by which a score would be divided
  by 1411 instead of 17668.

  Returns:
    (score - random) / (human - random): 0 is random play, 1 a human's.

  Raises:
    UserError: no human score of the game is known.
  """
  if game.lower() not in _HUMAN:
    raise UserError(
      f'GAME is {game!r}, of which no human score is known, but must be one '
      f'such as {", ".join(tasks.GRAESSER22_GAMES)}.'
    )
  return normalization_utils.normalize_score(score, game.lower())


def read_references(path: str) -> dict[str, float]:
  """Reads a CSV file of references, with the columns task and score.

  Returns:
    {task: score}. A name without a version applies to all versions.

  Raises:
    UserError: it is no such file.
  """
  try:
    with readers.contents_of(path):
      rows = readers.read_table(path, {'task': str, 'score': float})
      if not rows or not all(math.isfinite(row['score']) for row in rows):
        raise ValueError('a score is missing')
  except readers.FileError as error:
    raise UserError(
      f"--references is {path!r}, but must hold the line 'task,score', and "
      f"below it one such as 'Hopper-v4,3387.4' for each task: {error}"
    ) from error
  return {row['task'].strip(): row['score'] for row in rows}


def normalize(
  score: float, task: str, references: Mapping[str, float]
) -> float:
  """Returns a normalized score, by human play or by dense SAC.

  Args:
    score: a final score.
    task: an Atari game, or a MuJoCo task with its version.
    references: of MuJoCo tasks, {task: score of dense SAC}; one of a task
      without a version applies to all versions that are missing.

  Returns:
    The score, 1 being a human's or dense SAC's; nan if the task has no
    reference, or one that is not above 0, of which no share can be taken.
  """
  if task.lower() in _HUMAN:
    return human_normalized(score, task)
  reference = references.get(task, references.get(family(task), math.nan))
  return score / reference if reference > 0 else math.nan
