"""Tests of the widths of small dense networks."""

import pytest

from rigl_rl.errors import UserError
from rigl_rl.networks import q_networks, widths


def _mlp_parameters(units, num_inputs=4, num_outputs=2):
  return (num_inputs + units + num_outputs) * units + 2 * units + num_outputs


def _mlp(num_inputs, hidden, num_outputs):
  """Shapes of a perceptron of two hidden layers, as a function of the width."""

  def shapes_at(width):
    units = int(max(1, hidden * width))
    return {
      'dense1': (num_inputs, units),
      'dense2': (units, units),
      'output': (units, num_outputs),
    }

  return shapes_at


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


def test_solve_width_ends_where_no_width_is_enough():
  width, error = widths.solve_width(lambda width: 10, 20)
  assert width > 0
  assert error == -0.5


# PPO's actor on Humanoid: 376 inputs, 17 outputs, 29,248 weights, 145 biases.
# Units, their parameters u² + 395 u + 17, and those of the sparse network.
@pytest.mark.parametrize(
  'sparsity,units,parameters,target',
  [
    (0.5, 34, 14603, 14624 + 145),
    (0.9, 8, 3241, 2925 + 145),
    (0.95, 4, 1613, 1463 + 145),
    # One unit per layer is nearer than two, which have 811.
    (0.99, 1, 413, 293 + 145),
  ],
)
def test_one_factor_for_all_layers(sparsity, units, parameters, target):
  shapes_at = _mlp(376, 64, 17)
  width, mismatch = widths.matched_width(shapes_at, sparsity)
  shapes = shapes_at(width)
  assert [shape[-1] for shape in shapes.values()] == [units, units, 17]
  assert widths.num_parameters(shapes) == parameters
  assert mismatch == pytest.approx(parameters / target - 1, abs=1e-9)


def test_mismatch_of_humanoid_at_90_percent():
  _, mismatch = widths.matched_width(_mlp(376, 64, 17), 0.9)
  assert round(100 * mismatch, 1) == 5.6


def test_nature_cnn_at_95_percent():
  """7, 14, 14 and 112 units are too few by 3.6 %, the next are too many."""
  model = q_networks.NatureQNetwork(6, 0)

  def shapes_at(width):
    return model.layer_shapes((84, 84, 4), width)

  width, mismatch = widths.matched_width(shapes_at, 0.95)
  shapes = shapes_at(width)
  assert [s[-1] for s in shapes.values()] == [7, 14, 14, 112, 6]
  # 5 % of 4,045,824 weights, and 678 biases.
  count = 1799 + 1582 + 1778 + 1694 * 112 + 112 + 112 * 6 + 6
  assert widths.num_parameters(shapes) == count
  assert mismatch == pytest.approx(count / (202292 + 678) - 1, abs=1e-9)
  assert round(100 * mismatch, 1) == -3.6


@pytest.mark.parametrize('sparsity', [0.1, 0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(
  'network,state_shape,base',
  [
    (q_networks.MLPQNetwork, (6, 1), [512]),
    (q_networks.NatureQNetwork, (84, 84, 4), [32, 64, 512]),
    (q_networks.ImpalaQNetwork, (84, 84, 4), [32, 64, 512]),
  ],
)
def test_no_width_is_nearer(network, state_shape, base, sparsity):
  """Against every width at which any layer gains a unit."""
  model = network(4, 0)

  def count(width):
    return widths.num_parameters(model.layer_shapes(state_shape, width))

  width, _ = widths.matched_width(
    lambda width: model.layer_shapes(state_shape, width), sparsity
  )
  biases = sum(s[-1] for s in model.layer_shapes(state_shape, 1.0).values())
  target = (1 - sparsity) * (count(1.0) - biases) + biases
  steps = {n / units for units in base for n in range(1, units + 1)}
  nearest = min(
    abs(count(step * (1 + tiny)) - target)
    for step in steps
    for tiny in (-1e-9, 1e-9)
  )
  # The sparse network has a whole number of weights.
  assert abs(count(width) - target) <= nearest + 1


def test_sparsity_0_has_width_1():
  model = q_networks.NatureQNetwork(6, 0)
  assert widths.matched_width(
    lambda width: model.layer_shapes((84, 84, 4), width), 0
  ) == (1.0, 0.0)


def test_a_size_that_no_network_has(user_error):
  """One unit per layer has 413 parameters, twice as many as are asked for."""
  with user_error(
    'matched_width.sparsity is 0.9', '200 parameters', '413 (+106 %)', '50 %'
  ):
    widths.nearest_width(
      _mlp(376, 64, 17), 200, 'matched_width.sparsity is 0.9'
    )
  with user_error('matched_width.sparsity is 0.8', '10 (+150 %)'):
    widths.matched_width(lambda width: {'output': (4, 2)}, 0.8)


def test_sparsity_out_of_range():
  with pytest.raises(UserError, match=r'matched_width.sparsity is 1.*\[0, 1\)'):
    widths.matched_width(lambda w: {'output': (4, 2)}, 1)
