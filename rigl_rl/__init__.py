"""Sparse training for deep reinforcement learning, on Dopamine and TF-Agents."""
