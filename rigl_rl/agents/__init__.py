"""Agents of Dopamine and TF-Agents, made sparse: thin glue over the core."""
