"""Has the programs of a run compiled for a target in a process of its own, and hands over what the compiler says."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from lte_jax.config import Config
from lte_jax.device.weights import Architecture
from lte_jax.plan.targets import Target, TargetError

WHOLE_COPY = "Involuntary full rematerialization"


def measure(configs: Sequence[Config], arch: Architecture, target: Target, programs: Sequence[str]) -> Iterator[dict]:
    """What lte_jax.plan.worker prints, line by line: for each config `mesh`, sizes and arrays, or `error` where the
    model does not divide over it, then `begun` and `program` of each program; last `warnings`: what the partitioner
    said. Raises TargetError where it cannot compile."""
    request = {
        "configs": [config.model_dump(mode="json") for config in configs],
        "arch": asdict(arch),
        "target": target.name,
        "programs": list(programs),
    }
    command = [sys.executable, "-m", "lte_jax.plan.worker"]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        with subprocess.Popen(command, env=target.environment(), **pipes) as worker:
            try:
                json.dump(request, worker.stdin)
                worker.stdin.close()
                yield from (json.loads(line) for line in worker.stdout if line.startswith("{"))
            finally:
                if worker.poll() is None and sys.exc_info()[0] is not None:
                    worker.kill()
        log.seek(0)
        said = log.read()
    if worker.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        raise TargetError(f"compiling for {target.name} failed: {lines[-1] if lines else worker.returncode}")
    yield {"warnings": [line[:300] for line in said.splitlines() if WHOLE_COPY in line]}
