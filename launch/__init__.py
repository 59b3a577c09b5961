"""The commands of a checkout: `python -m launch.train` is `rigl-rl train`."""
