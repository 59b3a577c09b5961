"""Command-line entry points: each a short script over `rigl_rl`."""
