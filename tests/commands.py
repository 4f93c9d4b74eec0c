"""Runs the `lte` command as a user does: outside of the tests' process, on one CPU device."""

import atexit
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "configs/quickstart.yaml"
AS_USERS_RUN = "--xla_backend_optimization_level=3"  # after conftest.FAST_COMPILE: the last one counts
LONGEST_S = 500
SMALL = ["problems_per_step=8", "optim.problems_per_update=4", "sample.group_size=4", "engine.slots=32"]


def environment(XLA_FLAGS: str = "", **changed: str) -> dict[str, str]:
    """The flags of XLA that the tests were started with, such as an instruction set, for one device, then the given
    ones. Without a word of the caller, programs compile fast as those of the tests do (conftest.FAST_COMPILE)."""
    of_tests = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    flags = f"{of_tests} {XLA_FLAGS}".strip()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # says which test
    return {**outside, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "COLUMNS": "200", **changed}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "lte_jax.cli", *map(str, arguments)]


def lte(*arguments, check: bool = True, **changed: str) -> subprocess.CompletedProcess:
    """The finished command; with `check`, its output is shown where it failed. `changed`: environment variables.

    Commands in one environment run one after another in one process (lte_server.py); start() makes one of its own.
    """
    wanted = environment(**changed)
    if _servers and _servers[0].environment != wanted and not changed:
        _servers.pop().close()
    if changed:
        done = subprocess.run(
            command(*arguments), env=wanted, capture_output=True, text=True, cwd=ROOT, timeout=LONGEST_S
        )
    else:
        _servers[:] = _servers or [Server(wanted)]
        done = _servers[0].run([str(argument) for argument in arguments])
        if done.returncode < 0:  # the command took the process with it
            _servers.pop().close()
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


class Server:
    """A process that runs commands in one environment, as long as this one lives."""

    def __init__(self, wanted: dict[str, str]):
        self.environment, self._folder = wanted, Path(tempfile.mkdtemp(prefix="lte-server-"))
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        server = [sys.executable, Path(__file__).with_name("lte_server.py"), str(commands), str(answers), self._folder]
        self._process = subprocess.Popen(
            server, env=wanted, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=(commands, answers)
        )
        os.close(commands), os.close(answers)
        atexit.register(self.close)

    def run(self, arguments: list[str]) -> subprocess.CompletedProcess:
        os.write(self._commands, json.dumps(arguments).encode() + b"\n")
        ready, _, _ = select.select([self._answers], [], [], LONGEST_S)
        if not ready:
            self._process.kill()
        answer = os.read(self._answers, 1 << 16)
        code = json.loads(answer)["code"] if answer else -abs(self._process.wait() or 1)
        stdout, stderr = ((self._folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)

    def close(self) -> None:
        atexit.unregister(self.close)
        self._process.kill()
        self._process.wait()
        os.close(self._commands), os.close(self._answers)
        shutil.rmtree(self._folder)


_servers: list[Server] = []


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


def make_base(folder: Path) -> list[str]:
    """A copy of the fixtures' base model of the built-in task, and the overrides that train a run on it."""
    shutil.copytree(ROOT / "tests/fixtures/toy", folder, dirs_exist_ok=True)
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
