"""Environments: under Dopamine's protocol for DQN, TF-Agents' for the others.

Dopamine's, for discrete actions (Atari, classic control):
`reset() -> observation`; `step(action) -> (observation, reward, is_terminal,
info)`; the attribute `game_over` is true at the end of an episode, whether it
terminated (`is_terminal` is true) or was cut off by a time limit
(`is_terminal` is false); `action_space.n` and `observation_space`.

TF-Agents', for continuous actions (MuJoCo): a `PyEnvironment`, whose
`TimeStep` has discount 0 at a terminal state and 1 at a time limit.

Every environment also has `get_state`, `set_state` and `close`.
"""
