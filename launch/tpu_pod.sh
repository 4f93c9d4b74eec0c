#!/usr/bin/env bash
# A Cloud TPU slice, from this machine, with gcloud: makes it where it is not there, installs the checkout on every
# worker, brings the Hugging Face folder to each of them, and starts one process per worker.
#
#   bash launch/tpu_pod.sh [--dry-run] CONFIG [section.key=value ...] --run gs://BUCKET/runs/NAME
#
#   TPU          name of the slice (required)
#   ZONE         such as us-central2-b (required)
#   TYPE         accelerator type, to make the slice where it is not there: v5litepod-64, v5p-64, v6e-64, ...
#   VERSION      its software (default: v2-alpha-tpuv5-lite, v2-alpha-tpuv5 or v2-alpha-tpuv6e, as TYPE wants)
#   SPOT=true    takes a preemptible slice: cheaper, and may be taken away at any time with SIGTERM
#   MODEL        where the Hugging Face folder lies: gs://BUCKET/FOLDER is copied to each worker's disk, /FOLDER is
#                taken as it is, being a disk or Cloud Storage FUSE mounted on all workers (required)
#   DATA         gs:// folder with problem files, copied to ~/data on each worker (default: none)
#   TRIES        how often the run is started again after a preemption that leaves the slice up (default: 100)
#   --dry-run    prints every command and runs none
#
# The run folder must lie in a bucket: every worker writes its share of a checkpoint there. The workers find each other
# through the TPU's own metadata. Weights are read by every worker, so they must be near it: over
# the network file by file they would be read by all of them at once, slice after slice.
#
# Exit code 75 says that the slice was asked to stop and the last completed step is saved (docs/resuming.md): the script
# starts the same command again, which continues. Any other failure ends it; where a spot slice itself was taken away, ssh
# ends with 255, and this script, called again, makes another slice and continues there.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"

dry=false
if [ "${1:-}" = --dry-run ]; then dry=true; shift; fi
: "${TPU:?wanted the name of the slice: TPU=NAME}" "${ZONE:?wanted its zone: ZONE=us-central2-b}"
: "${MODEL:?wanted the Hugging Face folder: MODEL=gs://BUCKET/FOLDER or MODEL=/MOUNTED/FOLDER}"
run="$(run_folder "$@")"
case "$run" in
  gs://*) ;;
  *) echo "error: --run $run: wanted a folder in a bucket, gs://BUCKET/FOLDER, that all workers can write" >&2; exit 2 ;;
esac

step() {  # a command of this machine
  if $dry; then shown "$@"; else "$@"; fi
}

on_all_workers() {  # a command of every worker at once; fails where it fails on one
  step gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

make_slice() {
  local version="${VERSION:-}" spot=()
  if [ -z "$version" ]; then
    case "${TYPE:?the slice $TPU is not there: TYPE=v5litepod-64 would make it}" in
      v5litepod-*) version=v2-alpha-tpuv5-lite ;;
      v5p-*) version=v2-alpha-tpuv5 ;;
      v6e-*) version=v2-alpha-tpuv6e ;;
      *) echo "error: TYPE=$TYPE: wanted VERSION too, the software of such a slice" >&2; exit 2 ;;
    esac
  fi
  if [ "${SPOT:-}" = true ]; then spot=(--spot); fi
  step gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" --accelerator-type="$TYPE" --version="$version" "${spot[@]}"
}

# 1. The slice.
if $dry || ! gcloud compute tpus tpu-vm describe "$TPU" --zone="$ZONE" >/dev/null 2>&1; then
  $dry && echo "# where the slice is not there"
  make_slice
fi

# 2. The checkout, as git knows it, and the environment with jax's TPU build.
archive="$(if $dry; then echo lte_jax.tar.gz; else mktemp --suffix=.tar.gz; fi)"
step git archive --format=tar.gz --output="$archive" HEAD
step gcloud compute tpus tpu-vm scp "$archive" "$TPU:lte_jax.tar.gz" --zone="$ZONE" --worker=all
on_all_workers 'mkdir -p lte_jax && tar -xzf lte_jax.tar.gz -C lte_jax && cd lte_jax && source launch/venv.sh && ensure_venv gcs && .venv/bin/pip install --quiet "jax[tpu]" -c <(.venv/bin/pip freeze | grep "^jax==")'

# 3. The Hugging Face folder and the problems, on each worker's disk; what is there already is not copied again.
case "$MODEL" in
  gs://*)
    model="models/$(basename "$MODEL")"
    on_all_workers "mkdir -p $model && gcloud storage rsync --recursive $MODEL $model"
    model="../$model"
    ;;
  *)
    model="$MODEL"
    on_all_workers "test -f $MODEL/config.json || { echo \"error: \$(hostname): $MODEL is no Hugging Face folder, or is not mounted\" >&2; exit 2; }"
    ;;
esac
if [ -n "${DATA:-}" ]; then
  on_all_workers "mkdir -p data && gcloud storage rsync --recursive $DATA data"
fi

# 4. The run: one process per worker. `ssh` to all workers ends when they all have.
command="cd lte_jax && .venv/bin/lte train$(printf ' %q' "$@") model.path=$model --distributed"
for ((try = 1; try <= ${TRIES:-100}; try++)); do
  code=0
  on_all_workers "$command" || code=$?
  if [ "$code" != 75 ]; then exit "$code"; fi
  echo "stopped with exit code 75, start $((try + 1)): the same command continues"
  sleep 30
done
exit 75
