#!/usr/bin/env bash
# Trains a 90 % sparse RigL DQN on CartPole, from nothing but a Python.
#
#   bash launch/demo.sh [RUN_DIRECTORY] [ARGUMENTS OF launch.train ...]
#
# RUN_DIRECTORY is demo_run/ in the checkout if not given. Started again on the
# same one, it continues where it stopped.

# shellcheck source=launch/setup_venv.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup_venv.sh"

case "${1-}" in
  '' | -*) run="$ROOT/demo_run" ;;
  /* | *://*) run="$1" ;;
  *) run="$PWD/$1" ;;
esac
if [[ $# -gt 0 && "${1-}" != -* ]]; then
  shift
fi

# From the checkout: `-m` would prefer a `launch` of the caller's directory.
cd "$ROOT" || exit 1
exec "$PYTHON" -m launch.train \
  --gin_files=gin_configs/graesser22/dqn_classic/rigl.gin \
  --gin_bindings='SPARSITY=0.9' \
  --gin_bindings='TRAIN_STEPS=40000' \
  --base_dir="$run" \
  "$@"
