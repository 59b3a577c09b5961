"""Tests of the sparse DQN agent: masks, restarts, summaries and mistakes."""

import numpy as np
import pytest
import tensorflow as tf
from dopamine.discrete_domains import run_experiment

from helpers import small_dqn, summaries
from rigl_rl import errors
from rigl_rl.agents import optimizers

pytestmark = pytest.mark.usefixtures('no_gin_config')


def test_target_starts_as_a_copy():
  agent = small_dqn.make_agent()
  assert small_dqn.same(
    small_dqn.values(agent, 'online'), small_dqn.values(agent, 'target')
  )
  assert all(
    (m == 0).any() for _, m in small_dqn.sparse_layers(agent.target)[1:2]
  )


def test_masks_and_weights_agree_after_every_sync():
  agent = small_dqn.make_agent()
  masks_differed = []
  synced = []

  def check():
    trained = agent.optimizer.step.numpy() > 0
    online, target = (
      small_dqn.values(agent, 'online'),
      small_dqn.values(agent, 'target'),
    )
    if trained and (agent.training_steps - 1) % 10 == 0:
      assert small_dqn.same(online, target)
      synced.append(agent.training_steps)
    elif trained:
      masks_differed.append(
        not small_dqn.same(
          [m for _, m in small_dqn.sparse_layers(agent.online)],
          [m for _, m in small_dqn.sparse_layers(agent.target)],
        )
      )

  small_dqn.play(agent, 60, after_step=check)
  assert len(synced) == 5
  # RigL moved masks between two syncs; otherwise nothing was tested.
  assert any(masks_differed)


@pytest.mark.parametrize(
  'algorithm', ['Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS']
)
def test_weights_off_the_mask_are_exactly_zero(algorithm):
  agent = small_dqn.make_agent(algorithm, weight_decay=0.01)
  changed = []
  first = [m for _, m in small_dqn.sparse_layers(agent.online)]

  def check():
    for network in (agent.online, agent.target):
      for kernel, mask in small_dqn.sparse_layers(network):
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert not kernel[mask == 0].any()
    masks = [m for _, m in small_dqn.sparse_layers(agent.online)]
    changed.append(not small_dqn.same(masks, first))

  small_dqn.play(agent, 40, after_step=check)
  assert agent.optimizer.step.numpy() > 30
  assert any(changed) == (algorithm not in ('Dense', 'Static'))


def test_active_count_stays():
  agent = small_dqn.make_agent('RigL')
  before = [m.sum() for _, m in small_dqn.sparse_layers(agent.online)]
  small_dqn.play(agent, 40)
  assert [m.sum() for _, m in small_dqn.sparse_layers(agent.online)] == before


def test_continues_bit_for_bit(tmp_path):
  agent = small_dqn.make_agent()
  drawn = [m for _, m in small_dqn.sparse_layers(agent.online)]
  rng = np.random.default_rng(5)
  small_dqn.play(agent, 33, rng)
  bundle = small_dqn.save(agent, tmp_path)
  masks = [m for _, m in small_dqn.sparse_layers(agent.online)]
  assert not small_dqn.same(masks, drawn)  # RigL has moved them.

  resumed = small_dqn.make_agent()
  small_dqn.load(resumed, tmp_path, bundle)
  # Taken from the checkpoint, and not drawn again.
  assert small_dqn.same(
    [m for _, m in small_dqn.sparse_layers(resumed.online)], masks
  )
  assert resumed.training_steps == agent.training_steps == 33
  seed = np.random.default_rng(6)
  state = seed.bit_generator.state
  actions = small_dqn.play(agent, 40, seed)
  seed.bit_generator.state = state
  assert small_dqn.play(resumed, 40, seed) == actions
  for network in ('online', 'target'):
    assert small_dqn.same(
      small_dqn.values(agent, network), small_dqn.values(resumed, network)
    )
  assert small_dqn.same(
    [v.numpy() for v in agent.optimizer.variables()],
    [v.numpy() for v in resumed.optimizer.variables()],
  )
  assert float(agent.learner.loss) == float(resumed.learner.loss)


class _Environment:
  """Random observations, in episodes that never end by themselves."""

  observation_space = small_dqn.Space((3,))
  game_over = False

  def __init__(self):
    self._rng = np.random.default_rng(0)

  def reset(self):
    return self._rng.normal(size=3).astype(np.float32)

  def step(self, action):
    return self.reset(), self._rng.normal(), False, {}


def test_dopamines_own_runner_continues_from_its_checkpoint(tmp_path):
  def make_runner():
    return run_experiment.Runner(
      str(tmp_path),
      lambda sess, environment, summary_writer: small_dqn.make_agent(),
      _Environment,
      num_iterations=2,
      training_steps=20,
      evaluation_steps=1,
      max_steps_per_episode=7,
      fine_grained_print_to_console=False,
    )

  runner = make_runner()
  runner.run_experiment()
  agent = runner._agent
  agent.eval_mode = False
  resumed = make_runner()
  assert resumed._start_iteration == 2
  # To the bit, replay included.
  assert small_dqn.play(agent, 40) == small_dqn.play(resumed._agent, 40)
  assert agent.training_steps == resumed._agent.training_steps == 82
  for network in ('online', 'target'):
    assert small_dqn.same(
      small_dqn.values(agent, network),
      small_dqn.values(resumed._agent, network),
    )


def test_state_holds_all_that_changes():
  agent = small_dqn.make_agent()
  small_dqn.play(agent, 20)
  state = agent.get_state()
  # Adam's count, two slots for each of six arrays, and our own step.
  assert len(state['optimizer']) == 1 + 2 * 6 + 1
  # Three layers of kernel, bias and mask.
  assert len(state['online']) == len(state['target']) == 9


def test_state_of_another_network_is_refused():
  other = small_dqn.make_agent(hidden_units=(8,))
  with pytest.raises(ValueError, match='9 arrays for 6'):
    other.set_state(small_dqn.make_agent().get_state())


def test_same_seed_same_run():
  runs = []
  for seed in (0, 0, 1):
    agent = small_dqn.make_agent(seed=seed)
    actions = small_dqn.play(agent, 40)
    runs.append((actions, small_dqn.values(agent, 'online')))
  assert runs[0][0] == runs[1][0] and small_dqn.same(runs[0][1], runs[1][1])
  assert not small_dqn.same(runs[0][1], runs[2][1])


@pytest.mark.parametrize('snr', [False, True])
def test_summaries(tmp_path, snr):
  writer = tf.summary.create_file_writer(str(tmp_path))
  agent = small_dqn.make_agent(
    summary_writer=writer,
    summary_writing_frequency=10,
    summarize_gradient_snr=snr,
  )
  small_dqn.play(agent, 41)
  writer.close()
  found = {
    tag: [value for _, value in pairs]
    for tag, pairs in summaries.scalars(tmp_path).items()
  }
  # At steps 10 to 40.
  assert len(found['train/loss/total']) == 4
  assert np.isfinite(found['train/loss/total']).all()
  for name, layer in zip(('dense1', 'dense2', 'output'), agent.layers):
    np.testing.assert_allclose(
      found[f'masks/online/{name}/sparsity'],
      np.mean(layer.mask.numpy() == 0),
      atol=1e-6,
    )
  fractions = found['masks/online/drop_fraction']
  assert 0.5 > fractions[0] > fractions[-1] > 0
  assert ('gradients/snr/online' in found) == snr
  if snr:
    assert (np.array(found['gradients/snr/online']) > 0).all()
    assert np.isfinite(found['gradients/snr/online']).all()


def test_summaries_change_no_training():
  with_snr = small_dqn.make_agent(
    summary_writer=tf.summary.create_noop_writer(),
    summary_writing_frequency=1,
    summarize_gradient_snr=True,
  )
  without = small_dqn.make_agent()
  assert small_dqn.play(with_snr, 30) == small_dqn.play(without, 30)
  assert small_dqn.same(
    small_dqn.values(with_snr, 'online'), small_dqn.values(without, 'online')
  )


def test_title_and_description():
  agent = small_dqn.make_agent()
  assert agent.title == 'RigL at 50 % sparsity'
  assert small_dqn.make_agent('Dense').title == 'Dense'
  small_dqn.play(agent, 20)
  description = agent.describe()
  online = description['networks']['online']
  assert (online['algorithm'], online['width'], online['period']) == (
    'RigL',
    1.0,
    1,
  )
  assert description['gradient_steps'] == agent.optimizer.step.numpy()
  active = sum(int(m.sum()) for _, m in small_dqn.sparse_layers(agent.online))
  assert active == sum(
    layer['active_weights'] for layer in online['layers'].values()
  )
  assert description['parameters'] == active + 8 + 8 + 2


def test_loss_that_is_not_finite_is_reported():
  agent = small_dqn.make_agent(optimizer=lambda: optimizers.adam(1e20))
  agent.check_loss()  # Nothing trained yet.
  small_dqn.play(agent, 30)
  with pytest.raises(errors.UserError) as error:
    agent.check_loss()
  message = str(error.value)
  assert 'adam.learning_rate' in message and '1e+20' in message
  assert '\n' not in message


@pytest.mark.parametrize(
  'name,value',
  [
    ('gamma', 1.5),
    ('gamma', -0.1),
    ('gamma', 'x'),
    ('epsilon_train', 1.1),
    ('epsilon_eval', -1),
    ('epsilon_decay_period', 0),
    ('update_horizon', 0),
    ('batch_size', 0),
    ('batch_size', 2.5),
    ('batch_size', '32'),
    ('min_replay_history', -1),
    ('update_period', 0),
    ('update_period', 1.5),
    ('target_update_period', 0),
    ('summary_writing_frequency', 0),
    ('replay_capacity', 0),
    ('replay_capacity', 1),
    ('gamma', float('nan')),
  ],
)
def test_value_outside_its_range(name, value):
  with pytest.raises(errors.UserError) as error:
    small_dqn.make_agent(**{name: value})
  # gin adds lines that say where it was called from.
  message = str(error.value).splitlines()[0]
  assert name in message and str(value) in message


def test_too_few_steps_to_train_at_all():
  with pytest.raises(errors.UserError, match='TRAIN_STEPS'):
    small_dqn.make_agent(train_steps=5)
