#!/usr/bin/env bash
# One machine with several GPUs.
#
#   bash launch/multi_gpu.sh [--dry-run] [--processes N] CONFIG [section.key=value ...] --run FOLDER
#
# One process drives all GPUs: that is the default and, on one machine, the simplest that is fast. With `--processes N`
# (N divides the number of GPUs) each process drives its share: each then samples by itself, without lockstep, with a
# host thread and verifier workers of its own, which pays where the host cannot feed all GPUs.
#
#   --dry-run      prints each command, with its environment, and starts nothing
#   N_GPUS         GPUs of this machine (default: as many as nvidia-smi lists)
#   PORT           where process 0 listens for the others (default: 8476)
#   VENV           the environment (default: .venv), with jax's CUDA build in it: .venv/bin/pip install "jax[cuda13]"
#
# Ctrl-C and SIGTERM are passed on: the last completed step is saved (docs/resuming.md). If one process dies, the others
# are stopped too, since none can go on alone; the same command continues. Output of processes 1 and up goes to
# FOLDER/log/N.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"

dry=false processes=1
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry=true; shift ;;
    --processes) processes="${2:?--processes: wanted a number}"; shift 2 ;;
    *) break ;;
  esac
done
run="$(run_folder "$@")"
n_gpus="${N_GPUS:-$(nvidia-smi --list-gpus | wc -l)}"
if [ "$processes" -lt 1 ] || [ $((n_gpus % processes)) -ne 0 ]; then
  echo "error: --processes $processes: wanted a number that divides the $n_gpus GPUs" >&2
  exit 2
fi

if [ "$processes" = 1 ]; then
  show_or_exec "$dry" "$VENV/bin/lte" train "$@"
fi

# Process i sees GPUs i * share to (i + 1) * share - 1, and takes them for all there are.
share=$((n_gpus / processes)) children=()
$dry || mkdir -p "$run/log"
for ((i = 0; i < processes; i++)); do
  gpus="$(seq -s, $((i * share)) $(((i + 1) * share - 1)))"
  line=(
    env CUDA_VISIBLE_DEVICES="$gpus"
    JAX_COORDINATOR_ADDRESS="127.0.0.1:${PORT:-8476}" JAX_NUM_PROCESSES="$processes" JAX_PROCESS_ID="$i"
    "$VENV/bin/lte" train "$@" --distributed
  )
  if $dry; then
    shown "${line[@]}"
  elif [ "$i" = 0 ]; then
    "${line[@]}" & children+=($!)
  else
    "${line[@]}" >>"$run/log/$i" 2>&1 & children+=($!)
  fi
done
$dry && exit

code=0
trap 'kill -TERM "${children[@]}" 2>/dev/null || true' TERM INT
while [ ${#children[@]} -gt 0 ]; do
  status=0
  wait -n -p ended "${children[@]}" || status=$?
  if [ -z "${ended:-}" ]; then continue; fi  # a signal came, and was passed on
  left=()
  for child in "${children[@]}"; do [ "$child" = "$ended" ] || left+=("$child"); done
  children=("${left[@]}")
  if [ "$status" != 0 ] && [ "$code" = 0 ]; then
    code=$status
    [ ${#children[@]} = 0 ] || kill -TERM "${children[@]}" 2>/dev/null || true
  fi
done
exit "$code"
