"""What a run needs besides its agent: seeds, checkpoints, its directory.

Importing this package imports nothing: commands use some of it before
TensorFlow is imported.
"""
