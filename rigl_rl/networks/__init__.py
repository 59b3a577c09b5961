"""Networks built from sparse layers.

Knows the sparse core, TensorFlow and gin, and nothing of agents.
"""
