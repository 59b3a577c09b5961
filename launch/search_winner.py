"""Prints the winners of a search: `rigl-rl search_winner`."""

from rigl_rl.commands import search_winner

if __name__ == '__main__':
  raise SystemExit(search_winner.main())
