"""Sparse training for deep RL, on Dopamine and TF-Agents."""

# Before any module of the package can import Dopamine.
from rigl_rl import compat as compat
