"""Trained runs in forms that other programs read, one module per form."""
