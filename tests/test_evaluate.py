"""`lte eval` and `lte compare`: a suite, sampled as it says; continued sample by sample; compared pairwise."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from commands import ROOT, environment, lte, make_base
from typer.testing import CliRunner

from lte_jax import config
from lte_jax.cli import app
from lte_jax.config import ConfigError
from lte_jax.records import NoVerdictError, Problem, Prompt, Response, Sampling, Status, Verdict
from lte_jax.run.evaluate import Benchmark, evaluate, open_store
from lte_jax.storage.resumable import Resumable

SMALL = ["model.compute_dtype=float32", "engine.slots=8", "engine.chunk=4", "sample.response_budget=24"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return make_base(tmp_path_factory.mktemp("base"))[0].removeprefix("model.path=")


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> str:
    """Two benchmarks, one with settings of its own."""
    folder = tmp_path_factory.mktemp("suite")
    for name, n in (("sums", 12), ("others", 5)):
        rows = [{"problem": f"( {a} + 1 ) * 2", "answer": str(2 * a + 2), "id": f"{name}-{a}"} for a in range(n)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = {"name": "Others", "samples": 3, "k": [2, 3], "temperature": 0.2, "response_budget": 6}
    files = [{"path": f"{folder}/sums.jsonl"}, {"path": f"{folder}/others.jsonl", **own}]
    (folder / "suite.yaml").write_text(yaml.safe_dump({"samples": 5, "k": [5], "benchmarks": files}))
    return str(folder / "suite.yaml")


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_suite_is_sampled_as_it_says_and_a_killed_evaluation_continues(model, suite, tmp_path):
    asked = ["eval", model, *SMALL, "--suite", suite]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    said = lte(*asked, "--output", whole, "--paper", "4b").stdout
    assert said == (whole / "table.md").read_text().rstrip("\n") + "\n\n" and "paper: LTE" in said
    problems = rows(whole / "problems.jsonl")
    assert [(row["benchmark"], row["n_samples"]) for row in problems] == [("sums", 5)] * 12 + [("Others", 3)] * 5
    samples = rows(whole / "samples.jsonl")
    assert len(samples) == 75 and max(row["tokens"] for row in samples if row["benchmark"] == "Others") <= 6
    assert max(row["tokens"] for row in samples if row["benchmark"] == "sums") > 6
    metrics = json.loads((whole / "summary.json").read_text())["benchmarks"]
    assert metrics["sums"].keys() >= {"pass_at_1", "low", "high", "pass_at_5", "majority", "truncated_frac"}
    assert metrics["Others"].keys() >= {"pass_at_2", "pass_at_3", "length_mean"}

    command = [sys.executable, "-m", "lte_jax.cli", *asked, "--output", str(cut)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 200
    while not (cut / "samples.jsonl").exists() or (cut / "samples.jsonl").read_bytes().count(b"\n") < 8:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_there = (cut / "samples.jsonl").read_bytes().count(b"\n")
    assert 8 <= n_there < 75 and not (cut / "problems.jsonl").exists()
    again = lte(*asked, "--output", cut)
    assert f"{n_there} responses are there" in again.stderr
    assert rows(cut / "problems.jsonl") == problems
    assert len(rows(cut / "samples.jsonl")) == 75  # none was drawn twice

    altered = [row | {"n_correct": 0} for row in problems]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in altered))
    found = json.loads(invoked("compare", whole, tmp_path / "other.jsonl", "--json").stdout)
    assert found["sums"]["pass_at_1"]["difference"] == pytest.approx(-metrics["sums"]["pass_at_1"])
    assert found["all"]["n_problems"] == 17
    assert f"other.jsonl - {whole}" in invoked("compare", whole, tmp_path / "other.jsonl").stdout


def graded(*statuses: Status) -> tuple[dict, list[dict]]:
    """An evaluation of one problem with as many samples, by a verifier that gives these verdicts."""
    verdicts = [Verdict(s is Status.EQUAL, s, "2", reason="mine.py:3: KeyError") for s in statuses]
    zeros = np.zeros(1, np.float32)

    def generate(requests, sampling, between_chunks):
        return [(place, Response(zeros, zeros, zeros, False)) for place in range(len(requests))]

    session = SimpleNamespace(
        engine=SimpleNamespace(generate=generate),
        tokenizer=SimpleNamespace(decode=str),
        verifier=SimpleNamespace(grade_problems=lambda items: verdicts, same_answer=lambda pairs: [False] * len(pairs)),
    )
    problems = ((Problem("p", "1 + 1", "2"), Prompt("1 + 1", (1,))),)
    return evaluate(session, [Benchmark("sums", "", 0, problems, len(statuses), (), Sampling(1.0, 1.0, 0, 4))])


def test_an_evaluation_of_which_nothing_was_graded_has_no_pass_at_1():
    with pytest.raises(NoVerdictError, match="sums: nothing was graded, no verdict for any of 2 responses: mine.py:3"):
        graded(Status.CRASH, Status.TIMEOUT)
    metrics, (row,) = graded(Status.CRASH, Status.DIFFERENT)
    assert metrics["sums"]["pass_at_1"] == 0.0 and metrics["sums"]["n_undecided"] == 1
    assert row["undecided_reason"] == "mine.py:3: KeyError" and graded(Status.EQUAL)[1][0]["undecided_reason"] == ""


def test_other_settings_are_refused_by_name_and_further_ones_are_added(tmp_path):
    path, first = tmp_path / "new" / "samples.jsonl", {"model": "m", "benchmark a": ["hash", 0, {"temperature": 0.6}]}
    with Resumable(path, first, ("id", "index")) as store:
        store.write({"id": "p", "index": 0, "response": "é\u2028"})
    path.write_text(path.read_text() + '{"id": "p", "index": 1, "resp')  # killed while it wrote
    with Resumable(path, first | {"benchmark b": ["hash", 1, {}]}, ("id", "index")) as store:
        assert store.done.keys() == {("p", 0)} and store.done["p", 0]["response"] == "é\u2028"
    for name, value in (("benchmark a", ["hash", 0, {"temperature": 0.9}]), ("benchmark b", ["other", 1, {}])):
        with pytest.raises(ConfigError, match=f"samples.jsonl: begun with other settings: {name}; choose another"):
            Resumable(path, first | {name: value}, ("id", "index"))
    (tmp_path / "new" / "samples.jsonl.settings.json").unlink()
    with pytest.raises(ConfigError, match="no samples.jsonl.settings.json that says how it was made"):
        Resumable(path, first, ("id", "index"))


def test_samples_of_several_processes_are_read_by_all_and_written_by_one(tmp_path):
    def opened(process, settings=None):
        return open_store(tmp_path, process, settings or {"model": "m"})

    (tmp_path / "samples.old.jsonl").write_text("somebody else's\n")
    for process in (0, 2):
        with opened(process) as store:
            store.write({"benchmark": "b", "id": process, "index": 0})
    half = (tmp_path / "samples.2.jsonl").read_text() + '{"benchmark": "b", "id": 5'  # killed while it wrote
    (tmp_path / "samples.2.jsonl").write_text(half)
    with opened(1) as store:
        assert store.done.keys() == {("b", 0, 0), ("b", 2, 0)}
    assert (tmp_path / "samples.2.jsonl").read_text() == half  # not this process's to cut
    with pytest.raises(ConfigError, match=r"samples\.1\.jsonl: begun with other settings: model"):
        opened(3, {"model": "other"})


def test_a_numbered_file_beside_is_not_read(tmp_path):
    for name in ("responses.jsonl", "responses.1.jsonl", "a[1].jsonl"):
        with Resumable(tmp_path / name, {"n": len(name)}, ("id",)) as store:
            assert not store.done
            store.write({"id": name})
        with Resumable(tmp_path / name, {"n": len(name)}, ("id",)) as store:
            assert store.done.keys() == {(name,)}


def invoked(*arguments):
    """A command that needs no device, in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_suite_that_cannot_be_used_is_one_clear_line(model, suite, tmp_path):
    def refused(text: str) -> str:
        (tmp_path / "suite.yaml").write_text(text)
        return mistake("--suite", tmp_path / "suite.yaml")

    def mistake(*arguments) -> str:
        done = invoked("eval", model, *arguments)
        assert done.exit_code == 2
        return done.stderr

    assert "a suite lists benchmarks" in refused("samples: 3\nk: [1]")
    assert "unknown key eval.sample; did you mean eval.samples?" in refused("sample: 3")
    assert "exactly one of --benchmarks FILE and --suite FILE" in mistake("--suite", suite, "--benchmarks", "x.jsonl")
    assert "--paper: wanted one of 4b, 8b, got 3b" in mistake("--suite", suite, "--paper", "3b")
    assert "no evaluation here" in invoked("compare", tmp_path, tmp_path).stderr


def test_the_papers_suite_is_the_papers():
    values = config.load_suite(ROOT / "configs/suites/paper.yaml")
    found = config.build({"eval": values}).eval
    sizes = [(b.name, b.samples or found.samples, max(b.k or found.k)) for b in found.benchmarks]
    assert sizes[:3] == [("MATH-500", 4, 4), ("Minerva", 4, 4), ("Olympiad", 4, 4)]
    assert sizes[3:] == [("AMC23", 16, 16), ("AIME24", 16, 16), ("AIME25", 16, 16)]
    files = ROOT.parent / "shared" / "benchmarks"
    if not files.is_dir():
        pytest.skip("the benchmark files are not here")
    counts = [len((files / b.path.split("/")[-1]).read_text().splitlines()) for b in found.benchmarks]
    assert counts == [500, 272, 675, 40, 30, 30]
