"""What a run survives: each test starts real processes, disturbs one, and compares it with one that was left alone."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from commands import checkpoint_arrays, lte, make_base, small_run, start, start_together, wait_for, without_times

from lte_jax.preempt import EXIT_CODE
from lte_jax.report.files import read_metrics, read_rollouts


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"), warmup_steps=50)


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


@pytest.mark.parametrize("phase", ["sampling", "update"])
def test_sigterm_abandons_the_step_saves_the_one_before_and_the_same_command_continues(base, straight, tmp_path, phase):
    run = tmp_path / "run"
    arguments = small_run(base, run, "steps=4", "checkpoint.every=9", *LONG_UPDATE)
    process = start(*arguments)
    # rollouts of step 2 are written between its sampling and its update; metrics of step 1 just before the sampling
    wait_for(process, lambda: (run / "rollouts/000001.jsonl").exists())
    if phase == "update":
        wait_for(process, lambda: (run / "rollouts/000002.jsonl").exists())
    else:
        wait_for(process, lambda: len(read_metrics(run)) == 2)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == EXIT_CODE == 75, said
    assert time.monotonic() - asked < 25
    assert "SIGTERM: step 2 is abandoned" in said and "Traceback" not in said
    assert os.listdir(run / "checkpoints") == ["2"]
    assert (run / "rollouts/000002.jsonl").exists() == (phase == "update")
    assert f"continuing {run} at step 2" in lte(*arguments).stdout
    assert same(run, straight)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["sampling", "update"])
def test_sigterm_on_one_of_two_processes_stops_both_and_they_continue(base, tmp_path, phase):
    """The second is asked; both leave before the same place, and what they save together goes on bit for bit."""
    two = ["steps=4", "checkpoint.every=9", "mesh.fsdp=2", *LONG_UPDATE]
    straight, run = tmp_path / "straight", tmp_path / "run"
    for process in start_together(*small_run(base, straight, *two)):
        assert process.wait(timeout=400) == 0, process.stdout.read()
    first, second = start_together(*small_run(base, run, *two))
    wait_for(first, lambda: (run / "rollouts/000001.jsonl").exists())
    if phase == "update":
        wait_for(first, lambda: (run / "rollouts/000002.jsonl").exists())
    else:
        wait_for(first, lambda: len(read_metrics(run)) == 2)
    asked = time.monotonic()
    second.send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [EXIT_CODE] * 2, said
    assert time.monotonic() - asked < 25
    assert os.listdir(run / "checkpoints") == ["2"]
    for process in start_together(*small_run(base, run, *two)):
        assert process.wait(timeout=400) == 0, process.stdout.read()
    assert same(run, straight)
