# shellcheck shell=bash
# Sourced by the other scripts: makes .venv in the checkout and installs lte_jax into it, once; and what they share.
#
#   PYTHON   interpreter to use (default: the first of python3, python3.12, python3.11, python3.13 that is 3.11 to 3.13)
#   VENV     where the environment lies (default: .venv)
#
# The CPU build of jax is what a bare `jax` brings. For an accelerator, install its build into .venv afterwards
# (README.md, "Accelerators"); the scripts leave it alone.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
VENV="${VENV:-.venv}"

# XLA's CPU buffers are mapped anew in every step, and page faults are dear on a virtual machine. So glibc asks for huge
# pages, and keeps what it once had: an update of shape T (bench/update.py) spends 0.01 s in the kernel instead of 0.2 to
# 1.1. Without glibc it does nothing.
KEEP_MEMORY=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-$KEEP_MEMORY:glibc.malloc.arena_max=1}"

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.12 python3.11 python3.13; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: wanted Python 3.11, 3.12 or 3.13 on the PATH (or PYTHON=/path/to/python), found none" >&2
  return 1
}

ensure_venv() {
  local extras="$1" python stamp
  if [ ! -x "$VENV/bin/python" ]; then
    python="$(find_python)"
    echo "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV"
  fi
  # The stamp names what was installed, so that a second run, or the other script, installs only what is new.
  stamp="$VENV/installed-$extras-$(sha256sum setup.py | cut -c1-16)"
  if [ ! -e "$stamp" ]; then
    echo "installing lte_jax[$extras] into $VENV (some minutes the first time)"
    PYTHONWARNINGS=ignore "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    touch "$stamp"
  fi
}

# What follows --run among the arguments, which a launcher needs to know.
run_folder() {
  local before=""
  for word in "$@"; do
    case "$before,$word" in
      --run,*) echo "$word"; return ;;
      *,--run=*) echo "${word#--run=}"; return ;;
    esac
    before="$word"
  done
  echo "error: wanted CONFIG [section.key=value ...] --run FOLDER, got: $*" >&2
  return 2
}

# The command as it could be typed.
shown() {
  local word line=()
  for word in "$@"; do
    if [[ "$word" =~ ^[][A-Za-z0-9_./:=@,+-]+$ ]]; then line+=("$word"); else line+=("${word@Q}"); fi
  done
  echo "${line[*]}"
}

# Prints the command where the first word is true, else becomes it.
show_or_exec() {
  if "$1"; then
    shown "${@:2}"
    exit
  fi
  exec "${@:2}"
}
