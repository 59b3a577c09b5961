"""Reads, checks and compares gin configs."""
