"""How runs that are pooled in one number differ."""

from __future__ import annotations

from typing import Iterable, Iterator, Sequence

import pandas as pd

from rigl_rl.training import record

# A note names at most this many settings, and this many values of each.
_MAX_NAMES = 5
_MAX_VALUES = 4
_UNBOUND = 'unbound'


def differences(
  runs: pd.DataFrame, columns: Sequence[str], ignore: Sequence[str] = ()
) -> list[str]:
  """Says in what the runs behind one point differ, beside their seed.

  Bindings that change what is learned are compared, macros resolved; so are
  the versions that runs were made with, and the number of weights, which an
  earlier version of this package may have counted or chosen in another way.

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
  if point.setting.nunique() > 1 or point.versions.nunique() > 1:
    different = point.drop_duplicates(['setting', 'versions'])
    records = [record.read(directory) for directory in different.directory]
    yield from compared(list(map(record.settings, records)), ignore)
    yield from compared(list(filter(None, map(record.versions, records))))
  weights = sorted(set(point.weights.dropna()))
  if len(weights) > 1:
    yield 'weights', [f'{number:,.0f}' for number in weights]


def compared(
  known: Sequence[dict[str, str]], ignore: Sequence[str] = ()
) -> Iterator[tuple[str, list[str]]]:
  """Yields each setting that differs between runs, and its values."""
  # What a run does not call, another binding decides, or another version.
  called = [{name.rpartition('.')[0] for name in each} for each in known]
  for name in dict.fromkeys(name for each in known for name in each):
    owner = name.rpartition('.')[0]
    values = [
      each.get(name, _UNBOUND)
      for each, owners in zip(known, called)
      if owner in owners
    ]
    if len(set(values)) > 1 and name not in ignore:
      yield name, list(dict.fromkeys(values))
