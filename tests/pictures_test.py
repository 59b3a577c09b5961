"""The pictures of README.md are drawn from the tables in results/."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def test_pictures(tmp_path):
  spec = importlib.util.spec_from_file_location(
    'pictures', ROOT / 'docs' / 'pictures.py'
  )
  pictures = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(pictures)
  for path in pictures.draw(tmp_path):
    assert path.read_bytes().startswith(b'\x89PNG')
    assert (ROOT / 'docs' / 'images' / path.name).exists()
