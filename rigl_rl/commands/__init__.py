"""The commands, one module each: what `rigl-rl` and launch/ run.

A module with a function `main(argv)` is a command of its name.
"""
