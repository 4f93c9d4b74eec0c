"""What a run survives: each test starts real processes, disturbs one, and compares it with one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import (
    ROOT,
    checkpoint_arrays,
    environment,
    lte,
    make_base,
    small_run,
    start,
    start_together,
    wait_for,
    without_times,
)

from lte_jax.run.preempt import EXIT_CODE, INTERRUPTED
from lte_jax.storage.run_files import read_metrics, read_rollouts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


LONG_UPDATE = ("optim.problems_per_update=8", "optim.microbatch_tokens=1", "model.scan_layers=true")


@pytest.fixture(scope="module")
def straight(base, tmp_path_factory) -> Path:
    """A run of four steps that nobody disturbs."""
    run = tmp_path_factory.mktemp("straight") / "run"
    lte(*small_run(base, run, "steps=4", "checkpoint.every=9", *LONG_UPDATE))
    return run


def same(run: Path, other: Path) -> bool:
    """Metrics, rollouts, and every array of the newest checkpoint, bit for bit."""
    return (
        without_times(read_metrics(run)) == without_times(read_metrics(other))
        and list(read_rollouts(run)) == list(read_rollouts(other))
        and all(np.array_equal(a, b) for a, b in zip(checkpoint_arrays(run), checkpoint_arrays(other), strict=True))
    )


def without_logp(record):
    """The record without the sums of log-probabilities, whose last digit may depend on the order of a sum."""
    if isinstance(record, list):
        return [without_logp(each) for each in record]
    if isinstance(record, dict):
        return {key: without_logp(value) for key, value in record.items() if key != "logp_sum"}
    return record


@pytest.mark.parametrize(
    ("phase", "asked_by", "code"),
    [("sampling", signal.SIGTERM, EXIT_CODE), ("update", signal.SIGINT, INTERRUPTED)],
)
def test_sigterm_or_ctrl_c_abandons_the_step_saves_the_one_before_and_the_same_command_continues(
    base, straight, tmp_path, phase, asked_by, code
):
    run = tmp_path / "run"
    arguments = small_run(base, run, "steps=4", "checkpoint.every=9", *LONG_UPDATE)
    process = start(*arguments)
    # rollouts of step 2 are written between its sampling and its update; metrics of step 1 just before the sampling
    wait_for(process, lambda: (run / "rollouts/000001.jsonl").exists())
    if phase == "update":
        wait_for(process, lambda: (run / "rollouts/000002.jsonl").exists())
    else:
        wait_for(process, lambda: len(read_metrics(run)) == 2)
    process.send_signal(asked_by)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == code, said
    cause = "SIGTERM" if asked_by is signal.SIGTERM else "Ctrl-C"
    assert f"{cause}: step 2 is abandoned" in said and "Traceback" not in said
    assert os.listdir(run / "checkpoints") == ["2"]
    assert (run / "rollouts/000002.jsonl").exists() == (phase == "update")
    assert f"continuing {run} at step 2" in lte(*arguments).stdout
    assert same(run, straight)


FEW_PROGRAMS = (  # compiling is most of what a short run of two processes costs
    *("problems_per_step=4", "optim.problems_per_update=4", "optim.microbatch_tokens=1"),
    *("explore.strategy=grpo", "advantage.zero_variance=keep", "engine.slots=8", "engine.shrink=false"),
)


@pytest.fixture(scope="module")
def two_straight(base, tmp_path_factory) -> Path:
    """Three steps of two processes that nobody disturbs."""
    run = tmp_path_factory.mktemp("two") / "run"
    together(base, run)
    return run


def together(base, run: Path) -> None:
    said = [process.communicate(timeout=900)[0] for process in start_two(base, run)]
    assert "step 3/3" in said[0], said


def start_two(base, run: Path) -> list[subprocess.Popen]:
    return start_together(*small_run(base, run, *FEW_PROGRAMS, "steps=3", "checkpoint.every=9", "mesh.fsdp=2"))


@pytest.mark.parametrize("phase", ["sampling", "update"])
def test_sigterm_on_one_of_two_processes_stops_both_and_they_continue(base, two_straight, tmp_path, phase):
    """The second is asked; both leave before the same place, and what they save together goes on bit for bit."""
    run = tmp_path / "run"
    first, second = start_two(base, run)
    wait_for(first, lambda: (run / "rollouts/000000.jsonl").exists(), seconds=900)
    if phase == "update":
        wait_for(first, lambda: (run / "rollouts/000001.jsonl").exists(), seconds=900)
    else:
        wait_for(first, lambda: len(read_metrics(run)) == 1, seconds=900)
    second.send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [EXIT_CODE] * 2, said
    assert os.listdir(run / "checkpoints") == ["1"]
    assert (run / "rollouts/000001.jsonl").exists() == (phase == "update")
    together(base, run)
    assert same(run, two_straight)


def start_with_small_files(limit_bytes: int, *arguments) -> subprocess.CompletedProcess:
    """A run in which a file may not grow beyond the limit: a disk that is full for checkpoints, not for metrics."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))"
    code = f"{limit}; import sys; from lte_jax.cli import app; sys.argv[0] = 'lte'; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
    )


def test_a_full_disk_stops_the_run_or_not_and_leaves_the_older_checkpoint(base, straight, tmp_path):
    run = tmp_path / "run"
    lte(*small_run(base, run, "steps=1", "checkpoint.every=1", *LONG_UPDATE))
    stopped = start_with_small_files(100_000, *small_run(base, run, "steps=4", "checkpoint.every=1", *LONG_UPDATE))
    assert stopped.returncode == 2 and "Traceback" not in stopped.stderr.rpartition("error: ")[2]
    assert "the checkpoint of step 2 could not be written" in stopped.stderr and "File too large" in stopped.stderr
    assert "the newest whole one is of step 1. checkpoint.on_error=continue would go on" in stopped.stderr
    assert os.listdir(run / "checkpoints") == ["1"]

    goes_on = ["steps=4", "checkpoint.every=1", "checkpoint.on_error=continue", *LONG_UPDATE]
    finished = start_with_small_files(100_000, *small_run(base, run, *goes_on))
    assert finished.returncode == 2 and "the last checkpoint, of step 4, is missing" in finished.stderr
    warned = finished.stdout.count("could not be written")
    assert "never retrieved" not in stopped.stderr + finished.stderr  # what asyncio says of further failed writes
    assert warned == 3 and len(read_metrics(run)) == 4 and os.listdir(run / "checkpoints") == ["1"]

    assert "at step 1" in lte(*small_run(base, run, *goes_on)).stdout
    assert same(run, straight)


def test_a_run_killed_inside_a_checkpoint_goes_on_from_the_one_before(base, straight, tmp_path):
    """SIGKILL as soon as the checkpoint's unfinished folder is there, at three different moments."""
    run = tmp_path / "run"
    arguments = small_run(base, run, "steps=4", "checkpoint.every=1", *LONG_UPDATE)
    n_unfinished = 0
    for step, delay_s in ((1, 0.0), (2, 0.01), (3, 0.05)):
        process = start(*arguments)
        unfinished = run / f"checkpoints/{step}.orbax-checkpoint-tmp"
        wait_for(process, lambda: unfinished.exists() or (run / f"checkpoints/{step}").exists())
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        n_unfinished += unfinished.exists()
    assert n_unfinished, "no kill came while a checkpoint was being written"
    lte(*arguments)
    assert same(run, straight)


def test_a_run_goes_on_on_another_number_of_devices(base, straight, tmp_path):
    """Resharded; what is drawn does not depend on devices, so only the sums' last bits may differ, and it says so."""
    run = tmp_path / "run"
    lte(*small_run(base, run, "steps=2", "checkpoint.every=9", *LONG_UPDATE))
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    said = lte(*small_run(base, run, "steps=4", "checkpoint.every=9", "mesh.data=2", *LONG_UPDATE), **two).stdout
    assert "step 2 was saved on mesh {'data': 1, 'fsdp': 1, 'tensor': 1}" in said
    assert "random draws do not depend on it" in said
    groups, others = ([g for g in read_rollouts(r) if g["step"] == 2] for r in (run, straight))
    assert without_logp(groups) == without_logp(others)  # the very responses
    # Of an entry near 0 Adam makes any rounding a step of up to lr = 4e-4, twice since the change; a gradient is off by
    # what the weights are, which are near 0.1
    for ours, theirs in zip(checkpoint_arrays(run), checkpoint_arrays(straight), strict=True):
        assert np.linalg.norm(ours - theirs) <= 2 * 2 * 4e-4 / 0.1 * np.linalg.norm(theirs)
