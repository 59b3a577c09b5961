"""Layer sparsities: the oracle file, the papers' counts, and bad input."""

import json
import math
import pathlib

import pytest

from rigl_rl.sparsity import distributions

_ORACLES = json.loads(
  (pathlib.Path(__file__).parent / 'oracles' / 'distributions.json').read_text()
)
_FUNCTIONS = {
  'random': distributions.uniform,
  'erdos_renyi': distributions.erdos_renyi,
  'erdos_renyi_kernel': distributions.erdos_renyi_kernel,
}
_CASES = [
  (network, key)
  for network, case in _ORACLES.items()
  for key in case['sparsity']
]


def _mlp(*widths):
  return {f'dense{i}': shape for i, shape in enumerate(zip(widths, widths[1:]))}


def _size(shapes):
  return sum(math.prod(shape) for shape in shapes.values())


def _network_sparsity(shapes, sparsities):
  zeros = sum(
    distributions.num_zeros(math.prod(shape), sparsities[name])
    for name, shape in shapes.items()
  )
  return zeros / _size(shapes)


def test_oracle_file_is_whole():
  assert len(_ORACLES) == 5
  assert len(_CASES) == 5 * 6 * 3


@pytest.mark.parametrize(('network', 'key'), _CASES)
def test_equals_released_code(network, key):
  method, sparsity = key.split('@')
  actual = _FUNCTIONS[method](_ORACLES[network]['shapes'], float(sparsity))
  expected = _ORACLES[network]['sparsity'][key]
  assert list(actual) == list(expected)
  assert actual == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize('function', _FUNCTIONS.values())
@pytest.mark.parametrize('network', _ORACLES)
@pytest.mark.parametrize('sparsity', [0.01, 0.3, 0.5, 0.9, 0.999])
def test_layers_are_in_range_and_the_network_meets_its_sparsity(
  function, network, sparsity
):
  shapes = _ORACLES[network]['shapes']
  actual = function(shapes, sparsity)
  assert all(0 <= value < 1 for value in actual.values())
  # Each layer's count is rounded down, to the kernel's granularity.
  assert _network_sparsity(shapes, actual) == pytest.approx(
    sparsity, abs=2 * len(shapes) / _size(shapes)
  )


@pytest.mark.parametrize('function', _FUNCTIONS.values())
def test_sparsity_zero_is_dense_and_keeps_custom(function):
  shapes = _mlp(4, 8, 2)
  assert function(shapes, 0.0) == {'dense0': 0.0, 'dense1': 0.0}
  assert function(shapes, 0, custom={'dense1': 0.5}) == {
    'dense0': 0.0,
    'dense1': 0.5,
  }


def test_nature_cnn_weights():
  assert _size(_ORACLES['nature_pong']['shapes']) == 4_045_824


def test_kernel_counts_the_window_and_er_does_not():
  shapes = {'conv': (3, 3, 64, 64), 'dense': (2048, 128)}
  er = distributions.erdos_renyi(shapes, 0.9)
  erk = distributions.erdos_renyi_kernel(shapes, 0.9)
  # Ratios of densities by hand: Σ/Π of (64, 64), (3, 3, 64, 64), (2048, 128).
  dense = 2176 / 262144
  assert (1 - er['conv']) / (1 - er['dense']) == pytest.approx(
    (128 / 4096) / dense
  )
  assert (1 - erk['conv']) / (1 - erk['dense']) == pytest.approx(
    (134 / 36864) / dense
  )


def test_equal_layers_turn_dense_together():
  # The narrow ones are dense, and the wide one pays for them: of 4 + 4 + 1024
  # weights 1032 − ⌊.5 · 4⌋ · 2 − ⌊.5 · 1024⌋ = 516 are ones, 508 in the wide.
  shapes = {'a': (2, 2), 'b': (2, 2), 'wide': (32, 32)}
  expected = {'a': 0.0, 'b': 0.0, 'wide': 1 - 508 / 1024}
  assert distributions.erdos_renyi_kernel(shapes, 0.5) == pytest.approx(
    expected, abs=1e-12
  )


@pytest.mark.parametrize(
  'function', [distributions.erdos_renyi, distributions.erdos_renyi_kernel]
)
def test_power(function):
  shapes = {'a': (100, 100), 'b': (100, 400)}
  flat = function(shapes, 0.9, power=0.0)
  assert flat == pytest.approx({'a': 0.9, 'b': 0.9}, abs=1e-12)
  squared = function(shapes, 0.9, power=2.0)
  ratio = (200 / 10000) / (500 / 40000)
  assert (1 - squared['a']) / (1 - squared['b']) == pytest.approx(ratio**2)


@pytest.mark.parametrize('function', _FUNCTIONS.values())
def test_custom_layers_are_left_out(function):
  shapes = _mlp(17, 256, 256, 6)
  free = {name: shapes[name] for name in ('dense0', 'dense1')}
  actual = function(shapes, 0.9, custom={'dense2': 0.25})
  assert actual == {**function(free, 0.9), 'dense2': 0.25}
  assert list(actual) == list(shapes)


def _expected_lambda_sparsity(obs, act, actor_out, lambdas):
  weights = active = 0.0
  for shapes, copies in (
    (_mlp(obs, 256, 256, actor_out), 1),
    (_mlp(obs + act, 256, 256, 1), 2),
  ):
    sparsities = distributions.erdos_renyi_lambda(shapes, lambdas=lambdas)
    assert list(sparsities) == list(shapes)
    assert sparsities['dense2'] == 0.0
    weights += copies * _size(shapes)
    active += copies * sum(
      math.prod(shape) * (1 - sparsities[name])
      for name, shape in shapes.items()
    )
  return weights, active, 1 - active / weights


@pytest.mark.parametrize(
  ('obs', 'act', 'lambda1', 'expected'),
  [
    (17, 6, 7, 0.506),  # HalfCheetah, Walker2d
    (11, 3, 7, 0.494),  # Hopper
    (111, 8, 40, 0.496),  # Ant
    (376, 17, 61, 0.557),  # Humanoid
  ],
)
def test_ds_td3_sparsities(obs, act, lambda1, expected):
  _, _, sparsity = _expected_lambda_sparsity(obs, act, act, (lambda1, 64))
  assert sparsity == pytest.approx(expected, abs=5e-4)


def test_ds_td3_half_cheetah_counts():
  weights, active, _ = _expected_lambda_sparsity(17, 6, 6, (7, 64))
  assert weights == 214_784
  assert active == pytest.approx(106_169, abs=1e-6)


@pytest.mark.parametrize(
  ('obs', 'act', 'lambdas', 'expected'),
  [
    (17, 6, (12, 80), 0.369),
    (11, 3, (7, 20), 0.816),
    (111, 8, (30, 64), 0.530),
    (376, 17, (61, 64), 0.552),
  ],
)
def test_ds_sac_sparsities(obs, act, lambdas, expected):
  _, _, sparsity = _expected_lambda_sparsity(obs, act, 2 * act, lambdas)
  assert sparsity == pytest.approx(expected, abs=5e-4)


def test_lambda_clips_to_dense_and_says_so_once(capsys):
  shapes = _mlp(4, 8, 8, 2)
  for _ in range(2):  # As twin critics do.
    sparsities = distributions.erdos_renyi_lambda(shapes, lambdas=(3, 2))
    # 3 · 12 / 32 = 1.125, and 2 · 16 / 64 = .5.
    assert sparsities == {'dense0': 0.0, 'dense1': 0.5, 'dense2': 0.0}
  (line,) = capsys.readouterr().out.splitlines()
  assert 'dense0 (4, 8)' in line
  assert '1.125' in line


def test_lambda_at_another_sparsity_keeps_its_ratio(capsys):
  shapes = _mlp(17, 256, 256, 6)
  raw = distributions.erdos_renyi_lambda(shapes, lambdas=(7, 64))
  for sparsity in (0.25, 0.5, 0.8):
    scaled = distributions.erdos_renyi_lambda(shapes, sparsity, (7, 64))
    zeros = sum(math.prod(shapes[name]) * scaled[name] for name in shapes)
    assert zeros / _size(shapes) == pytest.approx(sparsity)
    assert scaled['dense2'] == 0
    factors = [(1 - scaled[n]) / (1 - raw[n]) for n in ('dense0', 'dense1')]
    assert factors[0] == pytest.approx(factors[1])
  assert not capsys.readouterr().out


def test_lambda_scaled_beyond_a_dense_layer(capsys):
  shapes = _mlp(17, 256, 256, 6)
  scaled = distributions.erdos_renyi_lambda(shapes, 0.04, (12, 64))
  assert scaled['dense0'] == 0  # .753 against .5: it fills up first.
  assert scaled['dense1'] == pytest.approx(0.04 * _size(shapes) / 65536)
  assert 'dense0' in capsys.readouterr().out
  whole = distributions.erdos_renyi_lambda(shapes, 0, (12, 64))
  assert max(whole.values()) == pytest.approx(0, abs=1e-9)


def test_lambda_cannot_reach_what_dense_layers_take(user_error):
  shapes = _mlp(17, 256, 256, 6)  # The output layer is 2.15 % of it.
  with user_error('SPARSITY is 0.98', 'below 0.9785, or None'):
    distributions.erdos_renyi_lambda(shapes, 0.98, (7, 64))


@pytest.mark.parametrize(
  'lambdas', [(), (1, 2, 3), (0,), (3, -1), 7, ('7',), (math.nan,)]
)
def test_bad_lambdas(lambdas, user_error):
  allowed = 'at least 1 item, each a number of at least 1e-6'
  if lambdas == (1, 2, 3):
    allowed = '1 to 2 positive'
  with user_error('erdos_renyi_lambda.lambdas', repr(lambdas), allowed):
    distributions.erdos_renyi_lambda(_mlp(4, 8, 2), lambdas=lambdas)


@pytest.mark.parametrize('function', _FUNCTIONS.values())
@pytest.mark.parametrize('sparsity', [1.0, -0.1, 90, float('nan'), '0.9', True])
def test_bad_sparsity(function, sparsity, user_error):
  with user_error(f'{function.__name__}.sparsity is {sparsity!r}', '[0, 1)'):
    function(_mlp(4, 8, 2), sparsity)


@pytest.mark.parametrize('function', _FUNCTIONS.values())
def test_bad_custom(function, user_error):
  name = f'{function.__name__}.custom'
  with user_error(f"{name} names the layer 'dense7'", 'dense0, dense1'):
    function(_mlp(4, 8, 2), 0.9, custom={'dense7': 0.5})
  with user_error(f"{name} is {{'dense1': 1.5}}", 'each value', '[0, 1)'):
    function(_mlp(4, 8, 2), 0.9, custom={'dense1': 1.5})
  with user_error(f'{name} is 0.5', 'a dict'):
    function(_mlp(4, 8, 2), 0.9, custom=0.5)


@pytest.mark.parametrize(
  'function', [distributions.erdos_renyi, distributions.erdos_renyi_kernel]
)
@pytest.mark.parametrize(
  ('power', 'allowed'),
  [
    (-1, 'at least 0'),
    (float('nan'), 'at least 0'),
    ('1', 'at least 0'),
    (None, 'at least 0'),
    (float('inf'), 'must be'),
    (1e6, 'must be less'),
  ],
)
def test_bad_power(function, power, allowed, user_error):
  with user_error(
    f'{function.__name__}.power is {power!r}, but must be', allowed
  ):
    function(_mlp(4, 8, 2), 0.9, power=power)


@pytest.mark.parametrize(
  ('size', 'sparsity', 'expected'),
  [
    (100, 0.29, 29),  # .29 · 100 is 28.999999999999996 in floating point.
    (100, 0.0, 0),
    (10, 0.99, 9),
    (7, 0.5, 3),
    (1000, 0.999, 999),
    (3_964_928, 0.95, 3_766_681),
  ],
)
def test_num_zeros(size, sparsity, expected):
  assert distributions.num_zeros(size, sparsity) == expected


def test_num_zeros_is_the_floor_of_the_decimal_product():
  for percent in range(100):
    for size in (1, 7, 100, 1000, 4096, 3_964_928):
      assert distributions.num_zeros(size, percent / 100) == (
        percent * size // 100
      )
