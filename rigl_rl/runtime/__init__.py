"""Calls what was traced at the least cost; see docs/runtime.md."""
