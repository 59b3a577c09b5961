"""When masks change, and by how much.

Windows are fractions of training, so that a shorter run is a true miniature of
a longer one. Steps are gradient steps, counted from 0, and integer scalars.
"""

from __future__ import annotations

import math

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, CountOrZero, Probability
from rigl_rl.errors import UserError


def cosine_drop_fraction(step, initial, end_step, begin_step=0) -> tf.Tensor:
  """Cosine-decayed drop fraction (Dettmers & Zettlemoyer, 2019).

    f(t) = initial / 2 · (1 + cos(π (t − begin) / (end − begin)))

  Args:
    step: t.
    initial: drop fraction up to `begin_step`, in [0, 1].
    end_step: step from which the fraction is 0.
    begin_step: step at which the decay begins.

  Returns:
    float32 scalar in [0, initial].
  """
  position = _position(step, begin_step, end_step)
  fraction = initial / 2 * (1 + tf.cos(math.pi * position))
  return tf.cast(fraction, tf.float32)


def polynomial_sparsity(
  step, final, begin_step, end_step, initial=0.0, power=3
) -> tf.Tensor:
  """Pruning curve (Zhu & Gupta, 2018).

    s(t) = final + (initial − final) · (1 − (t − begin) / (end − begin))^power

  Args:
    step: the current step.
    final: sparsity from `end_step` on, in [0, 1).
    begin_step: step at which pruning begins.
    end_step: step at which it ends.
    initial: sparsity up to `begin_step`, in [0, 1).
    power: exponent; 3 in the paper.

  Returns:
    float64 scalar, so that counts computed from it are exact.
  """
  position = _position(step, begin_step, end_step)
  return final + (initial - final) * (1 - position) ** power


def _position(step, begin_step, end_step) -> tf.Tensor:
  """Position of `step` in the window: 0 up to its begin, 1 from its end on."""
  step = tf.cast(step, tf.float64)
  if end_step <= begin_step:  # A window of a single step.
    return tf.cast(step >= end_step, tf.float64)
  position = (step - begin_step) / (end_step - begin_step)
  return tf.clip_by_value(position, 0.0, 1.0)


@gin.configurable(denylist=['total_steps', 'period'])
class UpdateSchedule:
  """The steps at which masks change: every `interval` in a window.

  The window's last step is an update step only if it falls on the interval, or
  if `SparseAlgorithm.updates_at_window_end` asks for it: pruning does, to end
  exactly at its final sparsity.

  Attributes:
    begin_step, end_step: first and last step of the window. Training always
      takes the last, and with a period masks can change at it.
    first_update_step: first step on the interval.
    interval: steps between updates.
  """

  def __init__(
    self,
    total_steps: int,
    begin: Probability = 0.0,
    end: Probability = 0.8,
    interval: Count = 1000,
    offset: CountOrZero = 0,
    steps_before: CountOrZero | None = None,
    period: int = 1,
  ):
    """Initializes the schedule.

    Args:
      total_steps: steps of the whole training, > 0.
      begin: begin of the window as a fraction of training, in [0, end).
      end: end of the window as a fraction of training, in (begin, 1].
      interval: steps between updates, >= 1.
      offset: shift of all updates, in [0, interval).
      steps_before: environment steps before the first gradient step. Updates
        then come where the number of environment steps, the current one
        included, is a multiple of the interval (Sokar et al., 2022, algorithms
        1 and 4). 0 counts gradient steps from 1. None starts at the window's
        first step, as the released code of Graesser et al. does.
      period: masks can change only at the last of every `period` steps, >= 1.

    Raises:
      UserError: on a value outside its range.
    """
    if total_steps <= 0:
      raise UserError(
        f'TRAIN_STEPS leaves {total_steps} gradient steps, but at least 1 is '
        'needed: it must exceed the steps collected before training.'
      )
    check_arguments(UpdateSchedule, locals())
    if begin >= end:
      raise UserError(
        f'UpdateSchedule.begin is {begin!r}, but must be less than '
        f'UpdateSchedule.end, {end!r}.'
      )
    if offset >= interval:
      raise UserError(
        f'UpdateSchedule.offset is {offset!r}, but must be a whole number in '
        f'[0, {interval - 1}], less than UpdateSchedule.interval.'
      )
    # A shorter training takes no such step.
    steps_taken = total_steps // period * period or total_steps
    self.end_step = min(round(end * total_steps), steps_taken - 1)
    self.begin_step = min(round(begin * total_steps), self.end_step)
    self.interval = int(interval)
    wait = offset
    if steps_before is not None:
      wait = (offset - (steps_before + 1 + self.begin_step)) % interval
    self.first_update_step = self.begin_step + int(wait)

  def is_update_step(self, step, with_end: bool = False) -> tf.Tensor:
    """Whether `step` is on the interval, or, if asked, the window's last."""
    step = tf.cast(step, tf.int64)
    since_first = step - self.first_update_step
    in_window = (since_first >= 0) & (step <= self.end_step)
    is_update = in_window & tf.equal(since_first % self.interval, 0)
    return is_update | self.is_last_step(step) if with_end else is_update

  def is_last_step(self, step) -> tf.Tensor:
    """Whether `step` is the window's last."""
    return tf.equal(tf.cast(step, tf.int64), self.end_step)

  def update_steps(self, with_end: bool = False) -> np.ndarray:
    """Returns the steps on the interval, and the last if asked, in order."""
    steps = np.arange(self.first_update_step, self.end_step + 1, self.interval)
    return np.union1d(steps, [self.end_step]) if with_end else steps
