"""Prints the winners of a search: `rigl-rl search_winner`."""

import sys

from rigl_rl.commands import search_winner

if __name__ == '__main__':
  sys.exit(search_winner.main())
