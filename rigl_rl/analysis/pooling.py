"""What runs that are pooled in one number have in common, and what not."""

from __future__ import annotations

import os
from typing import Iterable, Iterator, Sequence

import pandas as pd

from rigl_rl import readers
from rigl_rl.analysis import run_config

# A note names at most so many settings, and so many values of each.
_MAX_NAMES = 5
_MAX_VALUES = 4
_UNBOUND = 'unbound'


def differences(
  runs: pd.DataFrame, columns: Sequence[str], ignore: Sequence[str] = ()
) -> list[str]:
  """Says in what the runs behind one point differ, beside their seed.

  Bindings that change what is learned are compared, macros resolved; so are
  the versions that finished runs were made with, and the number of weights,
  which an earlier version of this package may have counted or chosen in another
  way.

  Args:
    runs: of the table of runs.
    columns: what makes a point.
    ignore: bindings in which runs of a point may differ.

  Returns:
    A note, or none.
  """
  found: dict[str, dict[str, None]] = {}
  for _, point in runs.groupby(list(columns), dropna=False, sort=False):
    for name, values in _differing(point, ignore):
      found.setdefault(name, {}).update(dict.fromkeys(values))
  if not found:
    return []
  shown = [
    f'{name} ({_listed(values, _MAX_VALUES)})' for name, values in found.items()
  ]
  return [
    f'Runs of one point differ beside their seed: {_listed(shown, _MAX_NAMES)}.'
  ]


def _listed(texts: Iterable[str], most: int) -> str:
  texts = list(texts)
  more = [f'{len(texts) - most} more'] if len(texts) > most else []
  return ', '.join([*texts[:most], *more])


def _differing(
  point: pd.DataFrame, ignore: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
  """Yields what differs within a point, and its values."""
  if point.setting.nunique() > 1:
    settings = [
      _settings(directory)
      for directory in point.drop_duplicates('setting').directory
    ]
    yield from _compared(settings, ignore)
  made_with = [
    dict(part.rpartition(' ')[::2] for part in text.split(', '))
    for text in dict.fromkeys(point.versions)
    if text
  ]
  yield from _compared(made_with)
  weights = sorted(set(point.weights.dropna()))
  if len(weights) > 1:
    yield 'weights', [f'{number:,.0f}' for number in weights]


def _settings(directory: str) -> dict[str, str]:
  text = readers.read_text(os.path.join(directory, 'config.gin'))
  return run_config.RunConfig(text).settings()


def _compared(
  known: Sequence[dict[str, str]], ignore: Sequence[str] = ()
) -> Iterator[tuple[str, list[str]]]:
  for name in dict.fromkeys(name for each in known for name in each):
    values = list(dict.fromkeys(each.get(name, _UNBOUND) for each in known))
    if len(values) > 1 and name not in ignore:
      yield name, values
