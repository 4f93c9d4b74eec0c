"""`lte generate` on a file: written as it finishes, continued where it was stopped, refused where it would not fit."""

import json
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT, environment, lte, make_base

SMALL = ["model.compute_dtype=float32", "engine.slots=8", "engine.chunk=4", "sample.response_budget=24"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return make_base(tmp_path_factory.mktemp("base"))[0].removeprefix("model.path=")


@pytest.fixture(scope="module")
def problems(tmp_path_factory) -> str:
    """Rows without answers."""
    path = tmp_path_factory.mktemp("problems") / "asked.jsonl"
    rows = [{"problem": f"( {a} + {b} ) * 2", "id": f"{a}-{b}"} for a in range(8) for b in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_owner(found: list[dict]) -> dict:
    assert len({(row["id"], row["index"]) for row in found}) == len(found)
    return {(row["id"], row["index"]): row["response"] for row in found}


def test_a_stopped_command_continues_and_a_changed_one_is_refused(model, problems, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    asked = ["generate", model, *SMALL, "--file", problems, "--n", "6"]
    lte(*asked, "--output", whole)
    expected = by_owner(rows(whole))
    assert len(expected) == 40 * 6

    command = [sys.executable, "-m", "lte_jax.cli", *asked, "--output", str(cut)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 200
    while not cut.exists() or cut.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_there = cut.read_bytes().count(b"\n")
    assert 20 <= n_there < 240  # written while it ran, and not yet done
    with cut.open("a") as file:
        file.write('{"id": "0-0", "index": 5, "resp')
    again = lte(*asked, "engine.slots=16", "--output", cut)  # another layout draws the same
    assert f"{n_there} of 240 responses are there" in again.stderr
    assert by_owner(rows(cut)) == expected

    changed = lte(*asked, "sample.temperature=0.5", "seed=3", "--output", cut, check=False)
    assert changed.returncode == 2
    assert "begun with other settings: seed, sample.temperature" in changed.stderr
    (tmp_path / "cut.jsonl.settings.json").unlink()
    unknown = lte(*asked, "--output", cut, check=False)
    assert unknown.returncode == 2 and "no cut.jsonl.settings.json that says how it was made" in unknown.stderr
    assert by_owner(rows(cut)) == expected


def test_a_file_is_printed_as_json_lines_and_output_wants_a_file(model, problems):
    printed = lte("generate", model, *SMALL, "--file", problems).stdout
    assert {row["index"] for row in map(json.loads, printed.splitlines())} == {0} and printed.count("\n") == 40
    refused = lte("generate", model, "--prompt", "( 1 + 2 ) * 2", "--output", "x.jsonl", check=False)
    assert refused.returncode == 2 and "--output goes with --file" in refused.stderr
