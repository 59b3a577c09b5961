#!/usr/bin/env bash
# Checks the style and the types, and runs the tests, from nothing but a Python.
#
#   bash tests/run.sh [--slow] [--python VERSION] [ARGUMENTS OF pytest ...]
#
# --slow runs the tests marked slow as well. --python 3.13 runs on that Python,
# in .venv-3.13, which it makes. Two processes share the tests; `-n 0` uses one.

selection=(-m 'not slow')
arguments=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --slow) selection=() ;;
    --python)
      RIGL_RL_PYTHON="${2-}"
      shift
      ;;
    --python=*) RIGL_RL_PYTHON="${1#*=}" ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

# shellcheck source=launch/setup_venv.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../launch/setup_venv.sh"

# Paths given to pytest are relative to the checkout, as its own output is.
cd "$ROOT" || exit 1
status=0
"$PYTHON" -m ruff check --quiet . || status=1
"$PYTHON" -m ruff format --quiet --check . || {
  echo 'rigl_rl: not formatted: run `.venv/bin/python -m ruff format`' >&2
  status=1
}
"$PYTHON" -m mypy --no-error-summary || status=1
# The odd expansion: an empty array is an unset variable to older shells.
"$PYTHON" -m pytest -n 2 --dist=loadfile ${selection[@]+"${selection[@]}"} \
  ${arguments[@]+"${arguments[@]}"} || status=$?
exit "$status"
