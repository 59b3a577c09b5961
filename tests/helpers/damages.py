"""Ways in which a file is damaged."""


def remove(path):
  path.unlink()


def truncate(path):
  path.write_bytes(path.read_bytes()[:-20])


def flip_byte(path):
  """Spoils the byte in the middle."""
  contents = bytearray(path.read_bytes())
  contents[len(contents) // 2] ^= 1
  path.write_bytes(contents)


EVERY_WAY = (remove, truncate, flip_byte)
