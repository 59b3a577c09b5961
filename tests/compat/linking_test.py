"""Libraries keep their symbols to themselves, if they are asked to.

That they must is tests/commands/processes_test.py: test_mujoco_is_filmed.
"""

import os
import sys

from rigl_rl.compat import linking


def test_own_symbols():
  before = sys.getdlopenflags()
  with linking.own_symbols():
    sys.setdlopenflags(before | os.RTLD_GLOBAL)
    assert sys.getdlopenflags() == before & ~os.RTLD_GLOBAL
  sys.setdlopenflags(before | os.RTLD_GLOBAL)
  assert sys.getdlopenflags() & os.RTLD_GLOBAL
  sys.setdlopenflags(before)
