"""The private names of jax that run/jax_private.py reads do in the installed jax what is read of them."""

import socket
import subprocess
import sys

from lte_jax.run.jax_private import detected_cluster, key_value_store


def test_one_process_has_no_store_and_a_laptop_is_no_cluster(monkeypatch):
    for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST", "TPU_SKIP_MDS_QUERY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    assert key_value_store() is None
    assert detected_cluster(1.0) == (None, None, None)


def test_a_slurm_job_is_detected(monkeypatch):
    """Three tasks on two hosts, as SLURM describes them to the second."""
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    address, n_processes, own = detected_cluster(1.0)
    assert address.startswith("node1:") and (n_processes, own) == (3, 1)


def test_the_store_keeps_what_is_put_in():
    code = (
        "import jax, sys; from lte_jax.run.jax_private import key_value_store\n"
        "jax.distributed.initialize(sys.argv[1], num_processes=1, process_id=0)\n"
        "client, own, n = key_value_store()\n"
        "client.key_value_set('lte/x/0', 'stop'); client.key_value_set('lte/x/0', 'go', allow_overwrite=True)\n"
        "assert client.key_value_dir_get('lte/x/') == [('lte/x/0', 'go')], client.key_value_dir_get('lte/x/')\n"
        "assert client.blocking_key_value_get('lte/x/0', 1000) == 'go'\n"
        "client.key_value_delete('lte/x/'); print(own, n, client.key_value_dir_get('lte/x/'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"localhost:{_free_port()}"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["0", "1", "[]"], done.stderr[-2000:]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
