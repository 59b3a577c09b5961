"""Environments, all under Dopamine's protocol.

`reset() -> observation`; `step(action) -> (observation, reward, is_terminal,
info)`; the attribute `game_over` is true at the end of an episode, whether it
terminated (`is_terminal` is true) or was cut off by a time limit
(`is_terminal` is false). Every environment also has `get_state`, `set_state`
and `close`, `action_space.n` and `observation_space`.
"""
