"""The gin files, as package data; `rigl_rl.configs` finds them."""
