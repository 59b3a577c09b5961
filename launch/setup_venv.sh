# Makes a virtual environment in the checkout, or repairs it, and installs the
# package there.
#
# Sourced by launch/demo.sh and tests/run.sh, after which $ROOT is the checkout
# and $PYTHON the interpreter. It is .venv, with any of the Pythons that are
# supported; or, if $RIGL_RL_PYTHON is a version such as 3.13, .venv-3.13.
#
# An up-to-date one costs nothing: its file .rigl_rl holds a checksum of what was
# installed, 'installing' while an install runs (found later, it was interrupted:
# the next one begins with an empty directory, and takes from the caches of uv
# and pip what was downloaded), and is absent in one that somebody else made.

ROOT="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv${RIGL_RL_PYTHON:+-$RIGL_RL_PYTHON}"
PYTHON="$VENV/bin/python"
# The first that is found is taken.
_SUPPORTED='3.12 3.13 3.11 3.10'
_VERSIONS="${RIGL_RL_PYTHON:-$_SUPPORTED}"

_say() {
  echo "rigl_rl: $*" >&2
}

_fail() {
  _say "$@"
  exit 1
}

# Is the interpreter $1 one that we can run on?
_is_supported() {
  "$1" -c "import sys
sys.exit('%d.%d' % sys.version_info[:2] not in '$_VERSIONS'.split())" \
    </dev/null >/dev/null 2>&1
}

# What an install depends on. The path too: an editable install points to it.
_checksum() {
  (
    cd "$ROOT" || exit 1
    cat uv.lock requirements.txt setup.py pyproject.toml launch/setup_venv.sh
    echo "$ROOT"
  ) | cksum
}

# Says in the environment that an install runs.
_mark() {
  mkdir -p "$VENV" && echo installing >"$VENV/.rigl_rl" ||
    _fail "cannot write to $VENV"
}

# Prints a Python that we can run on, if there is one.
_find_python() {
  local version candidate
  for version in $_VERSIONS; do
    # A name on PATH may be a shim without a version behind it: only running it
    # tells.
    for candidate in "python$version" \
        "${PYENV_ROOT:-${HOME-}/.pyenv}/versions/$version".*/bin/python; do
      if _is_supported "$candidate"; then
        echo "$candidate"
        return
      fi
    done
  done
  for candidate in python3 python; do
    if _is_supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
}

# Runs a command up to three times.
_try() {
  local seconds
  for seconds in 3 10 0; do
    "$@" </dev/null && return
    [[ $seconds == 0 ]] || _say "failed; trying again in $seconds s"
    sleep "$seconds"
  done
  return 1
}

# Makes a virtual environment $2 with the Python $1. Debian's has no ensurepip
# without a package of its own: only running it tells.
_make_with_venv() {
  "$1" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1 &&
    "$1" -m venv "$2" </dev/null
}

_pip() {
  # These three would send packages elsewhere.
  env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 "$@"
}

# Prints the path of uv: the one on PATH, or one that is installed for the
# environment to come, by any Python.
_find_uv() {
  local candidate
  if command -v uv; then
    return
  fi
  for candidate in "$1" python3 python; do
    if [[ -n "$candidate" ]] &&
        _make_with_venv "$candidate" "$VENV/uv" >&2 &&
        _try _pip "$VENV/uv/bin/python" -m pip install uv >&2; then
      echo "$VENV/uv/bin/uv"
      return
    fi
  done
}

# The compiler works while the rest is downloaded.
_compile_kernels() {
  cd "$ROOT" && "$PYTHON" -m rigl_rl.kernels.build
}

_install_with_uv() {
  local uv="$1" compiles
  export UV_PROJECT_ENVIRONMENT="$VENV" UV_PYTHON="$PYTHON"
  _say 'installing TensorFlow (600 MB)'
  _try "$uv" sync --frozen --inexact --only-group kernels || return 1
  _say 'installing the other packages; compiling the kernels beside it'
  _compile_kernels </dev/null &
  compiles=$!
  trap "kill $compiles 2>/dev/null; exit 130" INT TERM
  if ! _try "$uv" sync --frozen --inexact --extra test --compile-bytecode; then
    kill "$compiles" 2>/dev/null
    return 1
  fi
  wait "$compiles"
  # Without kernels it is slower; a run says why.
  return 0
}

_install_with_pip() {
  _say 'installing all packages with pip (4 GB; uv would be faster)'
  _try _pip "$PYTHON" -m pip --disable-pip-version-check --no-input install \
    --no-deps --require-hashes -r requirements.txt || return 1
  _pip "$PYTHON" -m pip --disable-pip-version-check --no-input install \
    --no-deps --no-build-isolation -e . || return 1
  _say 'compiling the kernels'
  _compile_kernels
  return 0
}

_install() {
  local python uv
  cd "$ROOT" || return 1
  python="$(_find_python)"
  uv="$(_find_uv "$python" 2>&4)"
  if [[ ! -x "$PYTHON" ]]; then
    if [[ -n "$uv" ]]; then
      _say "making ${VENV##*/} with ${python:-a Python that uv downloads}"
      if ! "$uv" venv --allow-existing --seed \
          --python "${python:-${_VERSIONS%% *}}" "$VENV" </dev/null; then
        [[ -n "$python" ]] || _say "needs Python ${_VERSIONS// /, } on PATH;" \
          'found none that works, and uv could not download one'
        return 1
      fi
    elif [[ -n "$python" ]]; then
      _say "making ${VENV##*/} with $python"
      _make_with_venv "$python" "$VENV" || return 1
    fi
  fi
  if [[ -n "$uv" ]] && _install_with_uv "$uv"; then
    return
  fi
  _install_with_pip
}

_setup() {
  local want have
  [[ " $_SUPPORTED " == *" $_VERSIONS "* ]] ||
    _fail "Python $_VERSIONS is not one of ${_SUPPORTED// /, }"
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
      _fail "$VENV holds $("$PYTHON" --version 2>&1); needed is one of" \
        "$_VERSIONS: move it away and run this again"
    fi
  fi
  if [[ ! -e "$VENV" && -z "$(_find_python)" ]] &&
      ! command -v uv >/dev/null && ! _is_bootstrap; then
    _fail "needs Python ${_VERSIONS// /, } (or uv, to download one) on PATH;" \
      'found none that works'
  fi
  _mark
  local log="$VENV/install.log"
  _say "installing into ${VENV##*/} (4 GB, some minutes; log:" \
    "${VENV##*/}/install.log)"
  # Without this, an interrupted client would look like one that gave up.
  trap 'exit 130' INT TERM
  # What programs write goes to the log, what `_say` says to the terminal too.
  if ! (
    exec 4>>"$log"
    _say() { echo "rigl_rl: $*" | tee -a "$log" >&3; }
    _install
  ) 3>&2 >>"$log" 2>&1; then
    # The client ended by itself: what is there is whole, and is used again.
    rm -f "$VENV/.rigl_rl"
    tail -n 15 "$log" >&2
    _fail "the install failed; the whole log is in $log"
  fi
  trap - INT TERM
  echo "$want" >"$VENV/.rigl_rl"
  _say "installed in $SECONDS s"
}

# Is there any Python that could install uv?
_is_bootstrap() {
  python3 -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1
}

_setup
