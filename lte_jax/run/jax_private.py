"""What is read of jax that has no public name, all in one place. A test holds it to the installed jax."""

from typing import Any, NamedTuple

from jax._src import clusters, distributed


class Store(NamedTuple):
    """The key-value store of a distributed run, and this process in it."""

    client: Any
    own: int
    n_processes: int


def key_value_store() -> Store | None:
    """None in a run of one process that no coordinator started."""
    state = distributed.global_state
    return None if state.client is None else Store(state.client, state.process_id, state.num_processes)


def detected_cluster(timeout_s: float) -> tuple:
    """(coordinator's address, number of processes, own number), each None where it is not found.

    As jax finds them on a TPU pod, under SLURM, Kubernetes or Open MPI.
    """
    detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
    return detect(None, None, None, None, None, int(timeout_s))[:3]
