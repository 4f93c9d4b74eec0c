"""One run on several processes: who draws what, and how host records get around.

Each process draws its share of a step's problems on its own devices; then all hold all groups, in order, and compute
the same from them. What is written, the first process writes.
"""

import atexit
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lte_jax.device.mesh import open_devices
from lte_jax.records import Group
from lte_jax.run.jax_private import detected_cluster
from lte_jax.run.roll_call import Place, call_the_roll
from lte_jax.run.wire import decode_groups, encode_groups

T = TypeVar("T")
PIECE_BYTES = 64 << 20  # of all processes together: what one exchange holds on every device
LEAVE_S = 5.0
_failed_with: list[int] = []  # the exit code, once this process has failed
JAX_ENV_VARS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start(distributed: bool, timeout_s: float, say: Callable[[str], None]) -> None:
    """Opens the devices, `distributed`: together with the run's other processes. Before anything else of jax."""
    if distributed:
        join(timeout_s, say)
    open_devices()


def join(timeout_s: float, say: Callable[[str], None]) -> None:
    """Makes this process one of a run's, once all are there; says who is awaited. Before anything else of jax.

    Raises roll_call.Absent where not all come within `timeout_s`, and ValueError where it is not said who they are.
    """
    place = find_place(timeout_s)
    call_the_roll(place, timeout_s, say)
    atexit.register(_leave_at_once)  # handlers run last first: before jax's, after those of what is imported later
    jax.distributed.initialize(place.address, num_processes=place.n_processes, process_id=place.own)


def fail(exit_code: int) -> None:
    """Has this process, which is about to end, not wait for the others: at its exit jax waits 300 s for them, while
    they wait for it, and then the exit code is another."""
    _failed_with.append(exit_code)


def _leave_at_once() -> None:
    if _failed_with:
        if is_first():  # without process 0 jax aborts the others: those that failed like it shall come to their own end
            time.sleep(LEAVE_S)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_failed_with[-1])


def find_place(timeout_s: float) -> Place:
    """As the three JAX_ENV_VARS say, else as the cluster does (a TPU pod, SLURM, Kubernetes, Open MPI). Raises
    ValueError where neither says all three."""
    given = {name: os.environ[name] for name in JAX_ENV_VARS if name in os.environ}
    if not given:
        found = detected_cluster(timeout_s)
        given = {name: str(value) for name, value in zip(JAX_ENV_VARS, found, strict=True) if value is not None}
    if not given:
        raise ValueError(
            f"--distributed: no cluster is detected (TPU pod, SLURM, Kubernetes, Open MPI); wanted one, or all of "
            f"{', '.join(JAX_ENV_VARS)}"
        )
    if len(given) < len(JAX_ENV_VARS):
        missing = ", ".join(name for name in JAX_ENV_VARS if name not in given)
        raise ValueError(f"{', '.join(given)} set without {missing}: wanted all of {', '.join(JAX_ENV_VARS)}, or none")
    address, n_processes, own = (given[name] for name in JAX_ENV_VARS)
    if not (n_processes.isdecimal() and own.isdecimal() and int(own) < int(n_processes)):
        raise ValueError(
            f"{JAX_ENV_VARS[1]} = {n_processes}, {JAX_ENV_VARS[2]} = {own}: wanted a number, and one from 0 to below it"
        )
    return Place(address, int(n_processes), int(own))


def is_first() -> bool:
    """Whether this process writes the run folder and speaks on the terminal."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come to `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def own_share(items: Sequence[T]) -> list[T]:
    """Every n-th, from this process's place: shares differ by one item at most."""
    return list(items[jax.process_index() :: jax.process_count()])


def all_groups(own: Sequence[Group]) -> list[Group]:
    """Those of every process, by their number in the step."""
    if jax.process_count() == 1:
        return list(own)
    groups = [group for payload in _gather(encode_groups(own)) for group in decode_groups(payload)]
    return sorted(groups, key=lambda group: group.index)


def all_values(own: Any) -> list[Any]:
    """One JSON value of every process, in the order of the processes."""
    if jax.process_count() == 1:
        return [own]
    return [json.loads(payload) for payload in _gather(json.dumps(own).encode())]


def merged(own: dict[str, float], how: Callable[[list[float]], float]) -> dict[str, float]:
    """Figures by name, those of all processes made one by `how`."""
    parts = all_values(own)
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: how([part[key] for part in parts if key in part]) for key in keys}


def _gather(payload: bytes) -> list[bytes]:
    """The payload of every process, piece by piece through the devices. All must call it together."""
    sizes = multihost_utils.process_allgather(np.int32(len(payload))).reshape(-1).tolist()
    most = max(PIECE_BYTES // len(sizes), 1)
    piece = min(1 << max(sizes).bit_length(), most)  # few shapes, so few programs
    gathered: list[list[bytes]] = [[] for _ in sizes]
    for start in range(0, max(sizes), piece):
        own = np.zeros(piece, np.uint8)
        part = np.frombuffer(payload[start : start + piece], np.uint8)
        own[: len(part)] = part
        for parts, row in zip(gathered, multihost_utils.process_allgather(own), strict=True):
            parts.append(row.tobytes())
    return [b"".join(parts)[:size] for parts, size in zip(gathered, sizes, strict=True)]
