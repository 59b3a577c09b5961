"""Tests of the width solver."""

import pytest

from rigl_rl.errors import UserError
from rigl_rl.networks import q_networks, widths

SPARSITIES = (0.1, 0.25, 0.5, 0.8, 0.9, 0.95, 0.99)


def _mlp_parameters(units, num_inputs=4, num_outputs=2):
  return (num_inputs + units + num_outputs) * units + 2 * units + num_outputs


def test_num_parameters():
  shapes = {'conv': (3, 3, 4, 8), 'dense': (16, 5)}
  assert widths.num_parameters(shapes) == 288 + 8 + 80 + 5


@pytest.mark.parametrize('target', [12, 1000, 27548, 100000, 1000000])
def test_solve_width_finds_the_nearest_units(target):
  width, error = widths.solve_width(
    lambda width: _mlp_parameters(int(max(1, 512 * width))), target
  )
  best = min(
    range(1, 2000), key=lambda units: abs(_mlp_parameters(units) - target)
  )
  assert int(max(1, 512 * width)) == best
  assert error == pytest.approx(_mlp_parameters(best) / target - 1)


def test_solve_width_on_a_smooth_count():
  width, error = widths.solve_width(lambda width: int(1e12 * width), 123456789)
  assert width == pytest.approx(0.000123456789, rel=1e-8)
  assert abs(error) < 1e-8


@pytest.mark.parametrize('num_actions', [3, 4, 6, 9, 18])
@pytest.mark.parametrize('sparsity', SPARSITIES)
@pytest.mark.parametrize(
  'network,state_shape',
  [
    (q_networks.MLPQNetwork, (2, 1)),
    (q_networks.MLPQNetwork, (6, 1)),
    (q_networks.NatureQNetwork, (84, 84, 4)),
    (q_networks.ImpalaQNetwork, (84, 84, 4)),
  ],
)
def test_matches_within_a_percent(network, state_shape, sparsity, num_actions):
  model = network(num_actions, 0)

  def shapes_at(width):
    return model.layer_shapes(state_shape, width)

  width = widths.matched_width(shapes_at, sparsity)
  dense = widths.num_parameters(shapes_at(1.0))
  biases = sum(shape[-1] for shape in shapes_at(1.0).values())
  target = (1 - sparsity) * (dense - biases) + biases
  assert abs(widths.num_parameters(shapes_at(width)) / target - 1) < 0.01


def test_sparsity_0_has_width_1():
  model = q_networks.NatureQNetwork(6, 0)
  assert (
    widths.matched_width(lambda w: model.layer_shapes((84, 84, 4), w), 0) == 1.0
  )


def test_says_so_where_no_width_is_near_enough():
  def shapes_at(width):
    del width
    return {'output': (4, 2)}

  with pytest.raises(UserError, match='nearest.* is .*% off'):
    widths.matched_width(shapes_at, 0.5)
  assert widths.matched_width(shapes_at, 0.5, tolerance=0.7)


def test_sparsity_out_of_range():
  with pytest.raises(UserError, match=r'matched_width.sparsity is 1.*\[0, 1\)'):
    widths.matched_width(lambda w: {'output': (4, 2)}, 1)


def _mlp_shapes(width):
  """A perceptron of 393 inputs, two hidden layers of 256, and one output."""
  most, last = (int(max(1, 256 * w)) for w in widths.as_pair(width))
  return {'dense1': (393, most), 'dense2': (most, last), 'output': (last, 1)}


@pytest.mark.parametrize(
  'target', [420, 2500, 2650, 5000, 100000, 167169, 400000]
)
def test_nearest_width_steps_down_where_the_last_layer_has_to_grow(target):
  """2650: 7 units make 2766 at least, and 6 with 35 make 2646."""
  width, error = widths.nearest_width(_mlp_shapes, target, 0.01)
  count = widths.num_parameters(_mlp_shapes(width))
  assert error == pytest.approx(count / target - 1)
  assert abs(error) <= 0.01


def test_nearest_width_is_one_number_where_that_will_do():
  assert widths.nearest_width(_mlp_shapes, 166913, 0.0) == (1.0, 0.0)
  width, error = widths.nearest_width(_mlp_shapes, 2500, 0.05)
  assert width == pytest.approx(0.025) and abs(error) <= 0.05


def test_solve_width_ends_where_no_width_is_enough():
  width, error = widths.solve_width(lambda width: 10, 20)
  assert width > 0
  assert error == -0.5


def test_widths_are_written_short():
  assert widths.format_width(1.0) == '1'
  assert widths.format_width((0.25, 1.5)) == '(0.25, 1.5)'
