"""Private names of other packages: one small function per name.

tests/compat says of each what breaks where a release no longer has it. No other
module uses a private name of a library. Some classes override such names, or
set them for the methods that they inherit. By the library's class:

  TFAgent: _train.
  SacAgent: _actions_and_log_probs, _get_target_updater.
  Td3Agent: _get_target_updater.
  PyEnvironment: _current_time_step, _reset, _step.
  Runner: _end_episode, _initialize_checkpointer_and_maybe_resume,
    _run_one_episode, _run_one_step.
  DQNAgent: _observation, _record_observation, _replay, _reset_state,
    _select_action, _train_step.
  OptimizerV2: _create_slots, _resource_apply_dense.
  Distribution: _entropy, _event_shape, _parameter_properties, _parameters.
  _TransformedDistribution: _log_prob.
"""
