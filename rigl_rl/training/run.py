"""A run: from a parsed gin config to a finished run directory."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterator, Sequence

import gin
import tensorflow as tf

from rigl_rl import files, quiet, seeding, tasks
from rigl_rl.config import domains, effects, gin_text, memory, parsing
from rigl_rl.config.domains import Count, Seed
from rigl_rl.errors import UserError
from rigl_rl.sparsity import user_code
from rigl_rl.training import (
  attributes,
  curve,
  extension,
  record,
  run_directory,
  scores,
  tracking,
  training_loop,
)


def train_files(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str],
  base_dir: str,
  extend: str | None = None,
  track: str | None = None,
) -> dict[str, Any]:
  """Trains what gin files describe; see `train`.

  Args:
    gin_files: as `parsing.parse` takes them.
    gin_bindings: single bindings, which win over the files.
    base_dir: the run directory.
    extend: what schedules do if TRAIN_STEPS is higher than that of the finished
      run in `base_dir`, see `extension`; None to refuse it.
    track: the tracker that follows the run, see `tracking`; None for none.
  """
  with quiet.import_quietly():  # Of what the files name.
    given = parsing.parse(gin_files, gin_bindings)
  extension.bind(base_dir, extend)
  with memory.blame_sizes(gin_files, gin_bindings):
    return train(base_dir, given=given, track=track)


@gin.configurable(denylist=['base_dir', 'given', 'track'])
def train(
  base_dir: str,
  runner: Callable[..., training_loop.TrainingLoop] = gin.REQUIRED,
  seed: Seed = gin.REQUIRED,
  train_steps: Count = gin.REQUIRED,
  task: str = '',
  paper: str = '',
  smoke: bool = False,
  extended: extension.Extended = (),
  given: effects.Given | None = None,
  track: str | None = None,
) -> dict[str, Any]:
  """Trains as the gin config says, or continues a run that was cut off.

  Args:
    base_dir: the run directory.
    runner: builds what trains, from (run_directory, seed, train_steps): an
      object with `run_experiment()`, `describe()` and `title`.
    seed: the run's SEED; every random stream of the run derives from it.
    train_steps: environment steps of training (agent steps on Atari).
    task: name of the task, above the curve.
    paper: whose configuration it is, 'graesser22' or 'sokar22': the run is
      drawn in its figures. It changes nothing in training.
    smoke: whether this is only a short try, by the bindings of
      `gin_configs/smoke/`: all results are marked.
    extended: the lengths that the run had before, see `extension`.
    given: what `parsing.parse` returned, to refuse bindings without effect;
      None for no such check.
    track: the tracker that follows the run, see `tracking`; None for none.

  Returns:
    The content of summary.json: the final score and the learning curve area in
    units of return, the latter also per training step, as Sokar et al. (2022)
    print it (see `scores`); and what the runner describes. What the run is
    is in run.json, see `record`.

  Raises:
    UserError: on a mistake in the config, or a base_dir that does not fit it.
  """
  seeding.check_seed(seed)
  domains.check('TRAIN_STEPS', train_steps, domains.COUNT)
  scored = scores.describe_final_score()
  directory = run_directory.RunDirectory(base_dir)
  with directory.lock(), _write_errors(base_dir, directory.events):
    config = gin.config_str()
    directory.check(config)
    if directory.finished:
      return _report_finished(directory)
    lengths, scheduled = extension.lengths(extended, train_steps)
    built = runner(directory, seed=seed, train_steps=scheduled)
    if extended:
      built.extend(lengths)
    for note in given.check() if given is not None else ():
      print(f'note: {note}', file=sys.stderr)
    # Not before all is built: a mistake must not leave a config behind.
    directory.prepare(config)
    _write_record(
      directory, built, task=task, seed=seed, train_steps=train_steps
    )
    print(built.title)
    if step := directory.last_step:
      print(f'Continues at step {step:,}.')
    with tracking.follow(track, directory), user_code.errors_in_one_line():
      built.run_experiment()
    return _write_results(directory, built, task, scored, smoke)


@contextlib.contextmanager
def _write_errors(base_dir: str, events: str) -> Iterator[None]:
  """Turns errors of writing to a run directory into UserErrors."""
  try:
    yield
    return
  except files.WriteError as error:
    reason = f'{error.filename}: {error.strerror}'
  except tf.errors.OpError as error:
    # Of TensorBoard's files, which TensorFlow writes.
    if events not in str(error):
      raise
    reason = error.message.splitlines()[0].split('}} ')[-1]
  raise UserError(
    f'--base_dir is {base_dir!r}, which cannot be written to ({reason}); '
    'once it can, the same command continues from the last checkpoint.'
  )


def _report_finished(directory: run_directory.RunDirectory) -> dict[str, Any]:
  summary = directory.read_summary()
  # It is null where it was not finite.
  score = summary.get('final_score')
  shown = f'{score:.1f}' if isinstance(score, (int, float)) else 'unknown'
  what = 'smoke run is' if summary.get('smoke') else 'is'
  print(
    f'{directory.path()} {what} finished: final score {shown}. Nothing to do.'
  )
  return summary


def _write_record(
  directory: run_directory.RunDirectory,
  built: training_loop.TrainingLoop,
  **arguments: Any,
) -> None:
  """Writes what the run is, `arguments` of `train` included."""
  operative_config = gin.operative_config_str()
  files.write(directory.path(record.OPERATIVE_CONFIG), operative_config)
  described = {
    **attributes.describe(gin_text.Config.of_text(operative_config)),
    'networks': {},
    **built.describe(),
    'title': built.title,
    **arguments,
    'modules_from': parsing.origin(),
  }
  described.pop('gradient_steps', None)  # Those taken: a result.
  differences = record.write(directory.path(), described, directory.last_step)
  if differences:
    print(
      f'note: {differences}: the results may differ from those of a run that '
      'was never stopped.',
      file=sys.stderr,
    )


def _write_results(
  directory: run_directory.RunDirectory,
  built: training_loop.TrainingLoop,
  task: str,
  scored: str,
  smoke: bool,
) -> dict[str, Any]:
  """Writes and reports the results of the run; returns its summary."""
  evaluations = directory.evaluations
  returns = [row['return_mean'] for row in evaluations]
  summary = {
    'finished': True,
    'smoke': smoke,
    'final_score': scores.final_score(returns),
    'final_score_of': scored,
    'learning_curve_area': scores.learning_curve_area(returns),
    'learning_curve_area_per_step': scores.learning_curve_area(
      returns, directory.last_step
    ),
    'steps': directory.last_step,
    'seconds': directory.elapsed_seconds,
    **built.describe(),
  }
  title = f'{"Smoke run: " * smoke}{built.title} on {task}'
  picture = curve.draw_curve(evaluations, title, tasks.return_range(task))
  files.write(directory.path(run_directory.CURVE), picture)
  record.write_json(directory.path(record.SUMMARY), summary)
  meaning = 'of a smoke run: it means nothing' if smoke else scored
  print(f'Final score {summary["final_score"]:.1f} ({meaning})')
  print(f'Curve:   {directory.path(run_directory.CURVE)}')
  print(f'Summary: {directory.path(record.SUMMARY)}')
  return summary
