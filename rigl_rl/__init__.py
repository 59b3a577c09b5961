"""Sparse training for deep RL, on Dopamine and TF-Agents."""

# Before any module of the package can import TensorFlow.
from rigl_rl import legacy_keras

legacy_keras.choose()
