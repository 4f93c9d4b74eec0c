#!/usr/bin/env bash
# The main job on the built-in task, from nothing, on a CPU: 8 to 11 minutes on 2 cores, installation included.
#
#   bash launch/quickstart.sh [section.key=value ...]
#
# Makes .venv, warms up a tiny base model, trains it with grpo, extra, lte and the control lte-random on three seeds
# each, and writes runs/quickstart: summary.json, curves.png, one folder per run. Started again, it continues.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"
ensure_venv report
exec "$VENV"/bin/lte study configs/quickstart.yaml --run runs/quickstart "$@"
