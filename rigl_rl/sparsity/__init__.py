"""The core: masks, algorithms, and their place in a train step.

Knows NumPy, TensorFlow and gin, and nothing of agents or environments.
"""
