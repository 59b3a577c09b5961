"""What a run needs besides its agent: seeds, checkpoints, its directory.

Importing this package imports nothing: `quiet` has to run before TensorFlow
is imported.
"""
