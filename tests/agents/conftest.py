"""Fixtures that tests of one agent share."""

import gin
import pytest
import tensorflow as tf


@pytest.fixture
def small_td3(no_gin_config):
  gin.parse_config("""
      DeterministicActor.hidden_units = (16, 16)
      SquashedGaussianActor.hidden_units = (16, 16)
      Critic.hidden_units = (16, 16)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 3
  """)


@pytest.fixture
def eagerly():
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.fixture
def small_ppo(no_gin_config):
  gin.parse_config("""
      GaussianActor.hidden_units = (8, 8)
      actor_critic.ValueNetwork.hidden_units = (8, 8)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 2
      DS.drop_fraction = 0.3
      adam.learning_rate = 1e-2
  """)


@pytest.fixture
def small_sac(no_gin_config):
  gin.parse_config("""
      SquashedGaussianActor.hidden_units = (16, 16)
      Critic.hidden_units = (16, 16)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 2
  """)
