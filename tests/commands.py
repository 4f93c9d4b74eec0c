"""Runs the `lte` command as a user does: in a process of its own, on one CPU device."""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "configs/quickstart.yaml"
WARMUPS = (2, 50, 400)  # steps: knows nothing, knows the form, learns in thirty steps of RL
SMALL = ["problems_per_step=8", "optim.problems_per_update=4", "sample.group_size=4", "engine.slots=32"]


def environment(XLA_FLAGS: str = "", **changed: str) -> dict[str, str]:
    """XLA's flags are those that the tests were started with, such as an instruction set, without conftest.py's."""
    of_tests = r"--xla_force_host_platform_device_count=\d+|--xla_backend_optimization_level=0"
    flags = f"{re.sub(of_tests, '', os.environ['XLA_FLAGS'])} {XLA_FLAGS}".strip()
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "COLUMNS": "200", **changed}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "lte_jax.cli", *map(str, arguments)]


def lte(*arguments, check: bool = True, **changed: str) -> subprocess.CompletedProcess:
    """The finished process; with `check`, its output is shown where it failed. `changed`: environment variables."""
    done = subprocess.run(
        command(*arguments), env=environment(**changed), capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def start(*arguments, **changed: str) -> subprocess.Popen:
    """The running process, its output in one pipe."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(**changed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def start_together(*arguments, n: int = 2) -> list[subprocess.Popen]:
    """n processes of one run on this machine, each with a device of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start(
            *arguments,
            "--distributed",
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES=str(n),
            JAX_PROCESS_ID=str(index),
        )
        for index in range(n)
    ]


def wait_for(process: subprocess.Popen, condition: Callable[[], bool], seconds: float = 300) -> None:
    """Looks every few milliseconds; shows what the process said where it ends, or the time does, before."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[0])
        time.sleep(0.005)


def python(code: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done


def make_base(folder: Path, warmup_steps: int) -> list[str]:
    """A base model of the built-in task, after the next number of WARMUPS, and the overrides that train a run on it.
    The first test of a session that asks makes it, whichever worker it runs in; the others wait for it and copy."""
    steps = next(n for n in WARMUPS if n >= warmup_steps)
    shared = Path(os.environ["LTE_TEST_BASES"]) / str(steps)
    with open(f"{shared}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            made = f"{shared}.partial"
            python(
                "from pathlib import Path; from lte_jax import config; from lte_jax.toy.warmup import make_base;"
                f"c = config.load({str(QUICKSTART)!r}, ['warmup.steps={steps}']); make_base(c, Path({made!r}), print)"
            )
            os.replace(made, shared)
    shutil.copytree(shared, folder, dirs_exist_ok=True)
    return [f"model.path={folder}/base", f"data.train={folder}/data/train.jsonl"]


def small_run(base, run: Path, *overrides: str) -> list[str]:
    return ["train", QUICKSTART, *base, *SMALL, "eval.every=0", "checkpoint.every=2", *overrides, "--run", run]


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "speed/"))} for row in rows]


def checkpoint_arrays(run: Path) -> list[np.ndarray]:
    """Every array of the newest checkpoint, parameters and optimiser."""
    import jax
    import orbax.checkpoint as ocp

    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])  # for what other processes' devices wrote
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        read = partial(reader.restore, args=ocp.args.StandardRestore(fallback_sharding=here))
        trees = [read((newest / item).absolute()) for item in ("params", "optimiser")]
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trees)]
