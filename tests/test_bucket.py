"""A run whose folder lies in a bucket: a stand-in that Orbax, TensorStore and epath speak to as to Google's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from bucket.server import serving
from commands import checkpoint_arrays, lte, make_base, small_run, start, wait_for, without_times
from reportruns import report_run

from lte_jax.storage.run_files import read_metrics, read_rollouts

SPEAKS_TO_IT = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "bucket"), os.environ.get("PYTHONPATH", "")])
}


def test_a_report_reads_a_bucket_and_is_written_there(tmp_path):
    run = report_run(tmp_path / "buckets/bucket/runs/one", n_steps=2)
    with serving(tmp_path / "buckets") as variables:
        told = lte("report", "gs://bucket/runs/one", "--json", **variables | SPEAKS_TO_IT)
    counted = json.loads(told.stdout)
    assert counted["output"] == "gs://bucket/runs/one/report.html" and counted["rescues"] == 2
    assert counted["bytes"] == (run / "report.html").stat().st_size


@pytest.mark.slow
def test_a_run_in_a_bucket_killed_and_continued_equals_one_on_a_disk(tmp_path):
    base = make_base(tmp_path / "base")
    steps = ["steps=6", "checkpoint.every=2"]
    on_disk = tmp_path / "on_disk"
    lte(*small_run(base, on_disk, *steps))
    in_bucket = tmp_path / "buckets/bucket/runs/one"
    in_bucket.mkdir(parents=True)
    held_out = base[1].removeprefix("data.train=").replace("train.jsonl", "heldout.jsonl")
    with serving(tmp_path / "buckets") as variables:
        variables |= SPEAKS_TO_IT
        arguments = small_run(base, "gs://bucket/runs/one", *steps)
        process = start(*arguments, **variables)
        wait_for(process, lambda: (in_bucket / "checkpoints/2/commit_success.txt").exists())
        process.kill()
        process.communicate()
        said = lte(*arguments, **variables).stdout
        assert "whether it still is" in said  # the note of the killed run was found, and not renewed
        assert "continuing gs://bucket/runs/one at step 2" in said or "at step 4" in said
        told = lte("eval", "gs://bucket/runs/one", "eval.limit=3", "--benchmarks", held_out, "--json", **variables)
    assert json.loads(told.stdout)["benchmarks"]["heldout"]["n_problems"] == 3
    assert "settings: gs://bucket/runs/one/config.yaml" in told.stderr
    assert without_times(read_metrics(in_bucket)) == without_times(read_metrics(on_disk))
    assert list(read_rollouts(in_bucket)) == list(read_rollouts(on_disk))
    ours, theirs = checkpoint_arrays(in_bucket), checkpoint_arrays(on_disk)
    assert len(ours) > 30 and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not (in_bucket / "lock").exists() and not list(in_bucket.rglob("*.partial"))
