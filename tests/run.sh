#!/usr/bin/env bash
# Checks the style and runs the tests, from nothing but a Python.
#
#   bash tests/run.sh [--slow] [ARGUMENTS OF pytest ...]
#
# --slow runs the tests marked slow as well.

# shellcheck source=launch/setup_venv.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../launch/setup_venv.sh"

selection=(-m 'not slow')
arguments=()
for argument in "$@"; do
  if [[ "$argument" == --slow ]]; then
    selection=()
  else
    arguments+=("$argument")
  fi
done

# Paths given to pytest are relative to the checkout, as its own output is.
cd "$ROOT" || exit 1
status=0
"$PYTHON" -m ruff check --quiet . || status=1
"$PYTHON" -m ruff format --quiet --check . || {
  echo 'rigl_rl: not formatted: run `.venv/bin/python -m ruff format`' >&2
  status=1
}
# The odd expansion: an empty array is an unset variable to older shells.
"$PYTHON" -m pytest ${selection[@]+"${selection[@]}"} \
  ${arguments[@]+"${arguments[@]}"} || status=$?
exit "$status"
