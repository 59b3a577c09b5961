"""Grids, and the runs that their products are."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import itertools
import re
from typing import Any, Mapping, Sequence

from rigl_rl.config import domains, gin_text
from rigl_rl.errors import UserError
from rigl_rl.sweeps import settings

SEED = 'SEED'
# Length of a directory's name, in characters; file systems allow 255 bytes.
_MAX_NAME = 150


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Its `directory`, a path in the base directory with forward slashes, is a
  function of its label, of what it changes in its gin files, and of its seed:
  the same run has the same directory in every sweep.
  """

  label: str  # The method, as figures name it.
  sweep: str  # The first part of its directory.
  directory: str
  gin_files: tuple[str, ...]
  values: Mapping[str, Any]  # What its grid varies except SEED, by name.
  bindings: Mapping[str, Any]  # Those of them that change something.
  seed: int
  # All that its grid binds beyond its gin files, by the names that gin knows.
  changes: tuple[tuple[str, Any], ...]
  extra: tuple[str, ...]  # Bindings for all runs, and by the scale.
  scale: float  # By which its TRAIN_STEPS are shortened, in (0, 1].
  train_steps: int  # Environment steps (agent steps on Atari), as scaled.
  too_short: str  # Why it could not train in so few, or ''.
  family: str | None  # Of agents, to estimate its cost by, if known.

  @property
  def needs(self) -> tuple[str, ...]:
    """The directories of runs whose results it starts from."""
    values = self.values.values()
    return tuple(v for v in values if isinstance(v, RunDirectory))

  @property
  def name(self) -> str:
    """In words: 'RigL, ENV_NAME=Acrobot-v1, SPARSITY=0.9, seed 0'."""
    values = [f'{name}={show(v)}' for name, v in self.bindings.items()]
    return ', '.join([self.label, *values, f'seed {self.seed}'])

  def with_seed(self, seed: Any) -> Run:
    """Returns this run with its seed, which its directory names."""
    domains.check(SEED, seed, domains.COUNT_OR_ZERO)
    directory = f'{self.directory}/seed{seed}'
    return dataclasses.replace(self, seed=seed, directory=directory)

  def gin_bindings(self, base_dir: str = '') -> list[str]:
    """Returns the bindings of launch.train, for runs in a base directory."""
    pairs = [*self.changes, (SEED, self.seed)]
    return [*_written(pairs, base_dir), *self.extra]

  def description(self) -> dict[str, Any]:
    """Returns the content of sweep.json, which does not name the base_dir."""
    return {
      'sweep': self.sweep,
      'label': self.label,
      'bindings': dict(self.bindings),
      'seed': self.seed,
      'scale': self.scale,
      'gin_files': list(self.gin_files),
      'gin_bindings': self.gin_bindings(),
    }


class RunDirectory(str):
  """A value that is another run's directory, within the base directory."""


def show(value: Any) -> str:
  """Writes a value for people: no quotes, no '@'."""
  if isinstance(value, str):
    return value.strip('@%').replace('()', '')
  if _is_list(value):
    return '-'.join(map(show, value))
  return repr(value)


def _is_code(value: Any) -> bool:
  """Whether a string is a gin reference or macro, and no text."""
  return isinstance(value, str) and value[:1] in ('@', '%')


def _literal(value: Any, base_dir: str = '') -> str:
  """Writes a value as gin reads it."""
  if isinstance(value, RunDirectory):
    return repr(f'{base_dir}/{value}' if base_dir else str(value))
  if _is_list(value):
    items = ', '.join(_literal(item, base_dir) for item in value)
    if isinstance(value, list):
      return f'[{items}]'
    return f'({items},)' if len(value) == 1 else f'({items})'
  return value if _is_code(value) else repr(value)


def _written(pairs: Sequence[tuple[str, Any]], base_dir: str = '') -> list[str]:
  return [f'{name}={_literal(value, base_dir)}' for name, value in pairs]


def _slug(text: str) -> str:
  """Returns a text as part of a path: 'Small dense' as 'small_dense'."""
  return re.sub(r'[^a-z0-9.+-]+', '_', text.lower()).strip('_')


def _path(bindings: Mapping[str, Any]) -> str:
  """Names a directory by bindings."""
  parts = []
  for name, value in bindings.items():
    shown = re.sub(r'[^A-Za-z0-9._+=-]+', '_', show(value))
    parts.append(f'{name.replace("/", ".")}={shown}')
  text = ','.join(parts) or 'default'
  if len(text) > _MAX_NAME:
    digest = hashlib.sha256(text.encode('utf-8')).hexdigest()[:12]
    text = f'{text[: _MAX_NAME - 13]}-{digest}'
  return text


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
  """Orders values by name; macros, as ENV_NAME, first."""
  return {n: values[n] for n in sorted(values, key=lambda n: ('.' in n, n))}


@dataclasses.dataclass(frozen=True)
class Grid:
  """Runs of one method: all combinations of some values.

  Attributes:
    label: the method, as figures name it: 'RigL'.
    gin_files: of launch.train.
    over: values by binding, of which the product is taken. A list or tuple
      holds values; anything else is one value. Text that begins with '@' or '%'
      is gin's, not a string. A Grid among the values means the directories of
      its runs, which are trained before.
    bindings: further bindings, of all runs.
    names: the bindings that a name of `over` sets, where it sets several at
      once, or has the same name in several grids.
    exclude: combinations left out: dicts of values, or lists of values, by
      name.
    directory: the first part of the runs' directories, by default the sweep's
      name. Grids of several sweeps that are to share runs give the same.
  """

  label: str
  gin_files: Sequence[str]
  over: Mapping[str, Any]
  bindings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  names: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  exclude: Sequence[Mapping[str, Any]] = ()
  directory: str = ''

  def __post_init__(self):
    for field, kind, noun in (
      ('label', str, 'a text'),
      ('gin_files', (list, tuple), 'a list of files'),
      ('over', dict, 'a dict of values by binding'),
      ('bindings', dict, 'a dict of values by binding'),
      ('names', dict, 'a dict of lists of bindings by name'),
      ('exclude', (list, tuple), 'a list of dicts'),
      ('directory', str, 'a text'),
    ):
      value = getattr(self, field)
      if not isinstance(value, kind) or (
        (field == 'label' and not _slug(value))
        or (field == 'names' and not all(map(_is_list, value.values())))
      ):
        raise UserError(f'Grid.{field} is {value!r}, but must be {noun}.')
    if not self.gin_files:
      raise UserError('Grid.gin_files is [], but must name a file.')
    for combination in self.exclude:
      unknown = set(combination) - set(self.over)
      if unknown:
        raise UserError(
          f'Grid.exclude names {", ".join(sorted(unknown))}, but Grid.over of '
          f'{self.label!r} has {", ".join(self.over)}.'
        )

  def runs(
    self,
    sweep: str,
    seeds: Sequence[int] | None = None,
    gin_bindings: Sequence[str] = (),
    scale: float = 1.0,
  ) -> list[Run]:
    """Returns all runs, those that others need first.

    Args:
      sweep: name of the sweep, for the runs' directories.
      seeds, gin_bindings, scale: see `Sweep.runs`. Runs that others need keep
        their SEEDs.
    """
    config = gin_text.Config(self.gin_files)
    home = self.directory or sweep
    over = dict(self.over)
    self._check_extra(gin_bindings)
    if seeds is not None:
      over[SEED] = tuple(seeds)
    needed: list[Run] = []
    axes: dict[str, list[Any]] = {name: [] for name in over}
    for name, values in over.items():
      for value in _listed(values):
        if not isinstance(value, Grid):
          axes[name].append(value)
          continue
        before = value.runs(home, None, gin_bindings, scale)
        needed += before
        names = dict.fromkeys(run.directory for run in before)
        inner = {directory for run in before for directory in run.needs}
        axes[name] += [RunDirectory(n) for n in names if n not in inner]
    # All seeds share the rest of the work.
    seed_values = axes.pop(SEED, [config.value(SEED, 0)])
    fixed = [
      (name, value)
      for name, value in _sorted(self.bindings).items()
      if not _is_bound(config, name, value)
    ]
    config = config.plus(_written(fixed))
    runs = []
    for values in itertools.product(*axes.values()):
      one = dict(zip(axes, values))
      wanted = [
        seed
        for seed in seed_values
        if not any(_is_among({**one, SEED: seed}, g) for g in self.exclude)
      ]
      if wanted:
        run = self._run(home, config, fixed, one, gin_bindings, scale)
        runs += [run.with_seed(seed) for seed in wanted]
    return [*needed, *runs]

  def _check_extra(self, gin_bindings: Sequence[str]) -> None:
    """Refuses to bind for all runs what distinguishes them."""
    varied = {SEED: SEED}
    for name in self.over:
      varied.update(dict.fromkeys(self.names.get(name, (name,)), name))
    keys = {gin_text.Key.parse(target): n for target, n in varied.items()}
    for binding in gin_bindings:
      try:
        found = keys.get(gin_text.Key.parse(binding))
      except (IndexError, ValueError):
        continue  # Reported where it is parsed.
      if found:
        flag = '--seeds' if found == SEED else '--filter'
        raise UserError(
          f'--gin_bindings={binding!r} binds what the sweep varies, as '
          f'{found}; choose by {flag} instead.'
        )

  def _run(
    self,
    home: str,
    config: gin_text.Config,
    fixed: Sequence[tuple[str, Any]],
    combination: Mapping[str, Any],
    extra: Sequence[str],
    scale: float,
  ) -> Run:
    """Returns the run of a combination, except for its seed."""
    values = _sorted(combination)
    bindings, changes = {}, []
    for name, value in values.items():
      targets = tuple(self.names.get(name, (name,)))
      # Runs of a suite differ in macros: these are always in the name.
      is_macro = targets == (name,) and '.' not in name
      if is_macro or not all(_is_bound(config, t, value) for t in targets):
        bindings[name] = value
        changes += [(target, value) for target in targets]
    own = config.plus([*_written(changes), *extra])
    train_steps, too_short = settings.train_steps(own, scale)
    if scale != 1:
      extra = [*extra, f'{settings.TRAIN_STEPS}={train_steps}']
    return Run(
      label=self.label,
      sweep=home,
      directory=f'{home}/{_slug(self.label)}/{_path(bindings)}',
      gin_files=tuple(self.gin_files),
      values=values,
      bindings=bindings,
      seed=-1,
      changes=(*fixed, *changes),
      extra=tuple(extra),
      scale=scale,
      train_steps=train_steps,
      too_short=too_short,
      family=settings.family(own),
    )


def _is_bound(config: gin_text.Config, name: str, value: Any) -> bool:
  """Whether the gin files bind a value already."""
  missing = object()
  found = config.value(name, missing)
  if _is_code(value):
    try:
      value = config.resolve(gin_text.parse_value(value), name)
    except UserError:
      return False  # A macro that nothing has bound so far.
  return found is not missing and gin_text.same(found, value)


def _is_among(combination: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
  """Whether a combination has, of each name, one of the values given."""
  return all(
    any(gin_text.same(combination[name], value) for value in _listed(values))
    for name, values in given.items()
  )


def _is_list(value: Any) -> bool:
  return isinstance(value, (list, tuple))


def _listed(value: Any) -> Sequence[Any]:
  return value if _is_list(value) else [value]


class Filter:
  """A condition on runs: 'NAME=VALUE', or 'NAME!=VALUE'.

  NAME is `label`, `sweep`, `seed`, or what a grid varies; VALUE a pattern, or
  several, divided by '|'. A run that has nothing of that name is not equal to
  any VALUE.
  """

  def __init__(self, text: str):
    """Parses a condition.

    Raises:
      UserError: it is none.
    """
    match = re.fullmatch(r'\s*([^=!]+?)\s*(!?=)\s*(.*?)\s*', text, re.DOTALL)
    if not match:
      raise UserError(
        f"--filter is {text!r}, but must read 'NAME=VALUE', 'NAME=VALUE|VALUE' "
        "or 'NAME!=VALUE', NAME being label, sweep, seed or a binding."
      )
    self.name, self._operator, patterns = match.groups()
    self._patterns = [pattern.strip(' \'"@') for pattern in patterns.split('|')]

  def accepts(self, run: Run) -> bool:
    values = attributes(run)
    equal = self.name in values and any(
      fnmatch.fnmatchcase(show(values[self.name]), pattern)
      or _is_number(values[self.name], pattern)
      for pattern in self._patterns
    )
    return equal == (self._operator == '=')


def attributes(run: Run) -> dict[str, Any]:
  """Returns what a filter may name of a run."""
  own = {'label': run.label, 'sweep': run.sweep, 'seed': run.seed}
  return {**run.values, SEED: run.seed, **own}


def _is_number(value: Any, pattern: str) -> bool:
  """Whether a value is the number that a text is: 1e-06 is 0.000001."""
  try:
    return not isinstance(value, (str, bool)) and float(value) == float(pattern)
  except (TypeError, ValueError):
    return False
