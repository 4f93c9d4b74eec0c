#!/usr/bin/env bash
# Kubernetes: fills in launch/k8s-jobset.yaml and hands it to kubectl. The cluster needs JobSet
# (https://jobset.sigs.k8s.io/docs/installation), nodes with GPUs or TPUs, and a claim that holds model and data.
#
#   bash launch/k8s.sh [--dry-run] CONFIG [section.key=value ...] --run gs://BUCKET/runs/NAME
#
#   IMAGE      container image with lte_jax, jax's build for the device, and gcsfs for gs:// (required)
#   NODES      pods, one process each, which drives all devices of its node (default: 2)
#   DEVICES    devices per node (default: 8)
#   RESOURCE   their name in Kubernetes (default: nvidia.com/gpu; google.com/tpu on TPUs)
#   SELECTOR   labels that a node must have, as {key: value, ...} (default: {}). TPUs need two:
#              {cloud.google.com/gke-tpu-accelerator: tpu-v5-lite-podslice, cloud.google.com/gke-tpu-topology: 4x8}
#   CLAIM      PersistentVolumeClaim mounted at /models (default: models): model.path=/models/FOLDER data.train=/models/...
#   NAME       of the JobSet (default: lte)
#   WORKDIR    where CONFIG is looked for in the image (default: /lte_jax)
#   RESTARTS   how often a stopped run is started again (default: 100)
#   --dry-run  prints the filled-in YAML and sends nothing; `... | kubectl apply --dry-run=server -f -` has it checked
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"

dry=false
if [ "${1:-}" = --dry-run ]; then dry=true; shift; fi
: "${IMAGE:?wanted the container image: IMAGE=REGISTRY/NAME:TAG}"
run="$(run_folder "$@")"
case "$run" in
  gs://*) ;;
  *) echo "error: --run $run: wanted a folder in a bucket, gs://BUCKET/FOLDER, that all pods can write" >&2; exit 2 ;;
esac

in_json() {  # the words as JSON strings, which YAML takes as they are
  local word
  for word in "$@"; do
    word="${word//\\/\\\\}"
    echo "- \"${word//\"/\\\"}\""
  done
}

NAME="${NAME:-lte}" NODES="${NODES:-2}" DEVICES="${DEVICES:-8}" RESOURCE="${RESOURCE:-nvidia.com/gpu}"
SELECTOR="${SELECTOR:-"{}"}" CLAIM="${CLAIM:-models}" WORKDIR="${WORKDIR:-/lte_jax}" RESTARTS="${RESTARTS:-100}"

filled_in() {
  local line name
  while IFS= read -r line; do
    if [[ "$line" == *"\${ARGUMENTS}" ]]; then # one line for each, as far in as it stands
      in_json "$@" | sed "s/^/${line%%[^ ]*}/"
      continue
    fi
    for name in NAME NODES DEVICES RESOURCE SELECTOR IMAGE WORKDIR CLAIM RESTARTS; do
      line="${line//"\${$name}"/"${!name}"}"
    done
    printf '%s\n' "$line"
  done < <(grep -v '^#' launch/k8s-jobset.yaml)
}

if $dry; then
  filled_in "$@"
else
  filled_in "$@" | kubectl apply -f -
fi
