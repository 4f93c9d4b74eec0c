#!/usr/bin/env bash
# The compilers of devices that are not here: a TPU's or a GPU's own compiler runs on any Linux machine. Tests marked slow
# compile every device program with them (tests/device/test_targets.py), and say so where they skip.
#
#   bash launch/targets.sh tpu     libtpu, 0.2 GB
#   bash launch/targets.sh cuda    CUDA plugin, compiler and cuDNN, 3 GB
#
# They lie in .targets/KIND-VERSION, outside of the environment: jax in .venv must not take this machine for one with a TPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"
ensure_venv test,report

jax=$("$VENV"/bin/python -c 'import jax; print(jax.__version__)')
case "${1:-}" in
  tpu) # the version that the installed jax names in its extra `tpu`
    packages=$("$VENV"/bin/python -c 'from importlib.metadata import requires
print(next(line.split(";")[0].strip() for line in requires("jax") if line.startswith("libtpu")))') ;;
  cuda) packages="jax-cuda13-plugin==$jax jax-cuda13-pjrt==$jax nvidia-cuda-nvcc nvidia-nvjitlink nvidia-cudnn-cu13" ;;
  *) echo "error: wanted tpu or cuda, got '${1:-}'" >&2; exit 2 ;;
esac
folder=".targets/$1-$jax"
if [ -e "$folder/installed" ]; then
  echo "$folder is there"
  exit
fi
echo "installing $packages into $folder"
# shellcheck disable=SC2086  # one word per package
"$VENV"/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target "$folder" $packages
touch "$folder/installed"
