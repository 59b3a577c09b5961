"""Private names of other packages: one small function per name.

tests/compat says of each what breaks where a release no longer has it.
"""
