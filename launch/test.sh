#!/usr/bin/env bash
# The tests, from nothing: 29 CPU minutes, installation included, so about 15 minutes on 2 cores with nothing beside them.
#
#   bash launch/test.sh [--quick] [pytest arguments]
#
# --quick runs the first tier, tests/quick.txt, in under 90 seconds: text, verifier, loss, update, sampler, engine, report
# and a run that goes on. With CI=true, CPU torch is installed too and a parity test that skips is a failure, and
# playwright, for the tests in a browser; to have both elsewhere: .venv/bin/pip install -e '.[parity,browser]'. Tests
# marked slow run with `bash launch/test.sh -m slow`.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/venv.sh"
extras=test,report
[ "${CI:-}" = true ] && extras=test,report,parity,browser
ensure_venv "$extras"
if [ "${1:-}" = --quick ]; then
  shift
  set -- @tests/quick.txt "$@"
fi
exec "$VENV"/bin/python -m pytest "$@"
