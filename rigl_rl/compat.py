"""What Python 3.9 needs to import Dopamine's Runner.

Dopamine's Runner module imports three mixture-of-experts agents, whose
annotations (`jax.Array | None`) Python 3.9 cannot evaluate. Nothing of ours
uses them, so there, empty modules stand in for them.
"""

import sys
import types

_AGENTS = (
  'dqn_moe_agent',
  'full_rainbow_moe_agent',
  'rainbow_100k_moe_agent',
)

if sys.version_info < (3, 10):
  for _name in _AGENTS:
    _module = f'dopamine.labs.moes.agents.{_name}'
    sys.modules.setdefault(_module, types.ModuleType(_module))
