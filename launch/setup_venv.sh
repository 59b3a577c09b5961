# Makes .venv in the checkout, or repairs it, and installs the package there.
#
# Sourced by launch/demo.sh and tests/run.sh, after which $ROOT is the checkout
# and $PYTHON the interpreter of .venv. An up-to-date .venv costs nothing: the
# file .venv/.rigl_rl holds a checksum of what was installed, 'installing' while
# an install runs (found later, it was interrupted: the next one starts anew),
# and is absent in a .venv that somebody else made.

ROOT="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"

_fail() {
  echo "rigl_rl: $*" >&2
  exit 1
}

# Is the interpreter $1 (and its further arguments) one that we can run on?
_is_supported() {
  "$@" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' \
    </dev/null >/dev/null 2>&1
}

# What an install depends on. The path too: an editable install points to it.
_checksum() {
  (
    cd "$ROOT" || exit 1
    cat constraints.txt setup.py pyproject.toml launch/setup_venv.sh
    echo "$ROOT"
  ) | cksum
}

# Says in .venv that an install runs.
_mark() {
  mkdir -p "$VENV" && echo installing >"$VENV/.rigl_rl" ||
    _fail "cannot write to $VENV"
}

_make_venv() {
  local candidate
  # The mark goes first: then an interruption from here on leaves no doubt.
  _mark
  for candidate in python3.11 python3.10 python3.9 python3 python; do
    # A name on PATH may be a shim without a version behind it, a newer Python,
    # or one without ensurepip (Debian): only running it tells.
    if _is_supported "$candidate" &&
        "$candidate" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1; then
      echo "rigl_rl: making .venv with $("$candidate" --version 2>&1)" >&2
      if "$candidate" -m venv "$VENV" </dev/null >/dev/null 2>&1; then
        return
      fi
      rm -rf "$VENV"
      _mark
    fi
  done
  if command -v uv >/dev/null 2>&1; then
    echo 'rigl_rl: making .venv with a Python 3.11 from uv' >&2
    if uv venv --quiet --python 3.11 --seed --allow-existing "$VENV" \
        </dev/null >/dev/null 2>&1; then
      return
    fi
  fi
  rm -rf "$VENV"
  _fail 'needs Python 3.9, 3.10 or 3.11 with its venv module (or uv, to fetch' \
    'one) on PATH; found none that works'
}

_pip() {
  # These three would send packages elsewhere than to .venv.
  env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 "$PYTHON" -m pip \
    --disable-pip-version-check --no-input "$@" </dev/null
}

_install() {
  cd "$ROOT" || return 1
  "$PYTHON" -m pip --version >/dev/null 2>&1 ||
    "$PYTHON" -m ensurepip </dev/null || return 1
  # First what builds source packages: build isolation would fetch the newest.
  _pip install -c constraints.txt pip setuptools wheel || return 1
  _pip install -c constraints.txt --no-build-isolation -e '.[test]' || return 1
  # Dopamine asks for opencv-python, which needs libGL. Servers often have none;
  # the headless build has the same files but for those that draw windows.
  "$PYTHON" -c 'import cv2' ||
    _pip install -c constraints.txt --no-deps --force-reinstall \
      opencv-python-headless || return 1
}

_setup() {
  local want have log
  want="$(_checksum)"
  have="$(cat "$VENV/.rigl_rl" 2>/dev/null)"
  if [[ "$have" == "$want" ]] && _is_supported "$PYTHON"; then
    return
  fi
  if [[ -e "$VENV" || -L "$VENV" ]]; then
    if [[ "$have" == installing ]] ||
        ! "$PYTHON" -c '' </dev/null >/dev/null 2>&1; then
      rm -rf "$VENV" || _fail "cannot remove the unfinished $VENV"
    elif ! _is_supported "$PYTHON"; then
      _fail "$VENV holds $("$PYTHON" --version 2>&1); needed is 3.9, 3.10 or" \
        '3.11: move it away and run this again'
    fi
  fi
  [[ -e "$VENV" ]] || _make_venv
  _mark
  log="$VENV/install.log"
  echo 'rigl_rl: installing into .venv (3 GB, some minutes; log:' \
    '.venv/install.log)' >&2
  # Without this, an interrupted pip would look like one that gave up.
  trap 'exit 130' INT TERM
  if ! (_install) >"$log" 2>&1; then
    # pip ended by itself, so what is there is whole: the next try goes on.
    rm -f "$VENV/.rigl_rl"
    tail -n 15 "$log" >&2
    _fail "the install failed; the whole log is in $log"
  fi
  trap - INT TERM
  echo "$want" >"$VENV/.rigl_rl"
}

_setup
