"""How libraries in C++ share names in a process."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Iterator


@contextlib.contextmanager
def own_symbols() -> Iterator[None]:
  """Lets a library that is imported keep its symbols to itself.

  TensorFlow offers its symbols to all libraries, those of its LLVM among them.
  Mesa, which draws where there is no GPU, has another LLVM, and crashes then.
  """
  set_flags = sys.setdlopenflags
  sys.setdlopenflags = lambda flags: set_flags(flags & ~os.RTLD_GLOBAL)
  try:
    yield
  finally:
    sys.setdlopenflags = set_flags
