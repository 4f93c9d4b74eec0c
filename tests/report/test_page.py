"""The report without a browser: which runs make an arm, what curves hold, which rollouts stay, and how they go in."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import ROOT, lte
from reportruns import noted, report_run, rescued, solved, two_arms, with_trace

from lte_jax.config import ConfigError
from lte_jax.report.page import curves as curves_module
from lte_jax.report.page.curves import curves
from lte_jax.report.page.embed import script_json
from lte_jax.report.page.overview import differing, overview
from lte_jax.report.page.sample import HEAD, TAIL, WHOLE, sample, shown
from lte_jax.report.page.source import read_runs
from lte_jax.report.page.write import MOST_BYTES, write_report

HOSTILE = "</script><script>window.broken = 1</script><!--<img src=x onerror='window.broken = 1'>&lt;\u2028\u2029"


def embedded(page: str) -> list[dict]:
    """The groups in a page, read as a browser does: a script element ends at the first </script."""
    parts = re.findall(r'<script type="application/json" class="rollouts-data">(.*?)</script', page, re.DOTALL)
    return [group for part in parts for group in json.loads(part)]


# ---- runs and arms


def test_runs_that_differ_only_in_the_seed_are_one_arm(tmp_path):
    runs = read_runs(two_arms(tmp_path))
    assert [(run.name, run.arm, run.seed) for run in runs] == [
        ("lte-0", "lte", 0),
        ("lte-1", "lte", 1),
        ("grpo-0", "grpo", 0),
        ("grpo-1", "grpo", 1),
    ]


def test_another_setting_makes_another_arm_and_logging_does_not(tmp_path):
    folders = [
        report_run(tmp_path / "x-0"),
        report_run(tmp_path / "x-1", "log.every=7", "checkpoint.every=3", seed=1),
        report_run(tmp_path / "x-2", "optim.lr=0.5", seed=2),
    ]
    assert [run.arm for run in read_runs(folders)] == ["x", "x", "x-2"]


def test_a_folder_of_runs_stands_for_them_and_none_is_read_twice(tmp_path):
    two_arms(tmp_path)
    assert len(read_runs([tmp_path, tmp_path / "lte-0"])) == 4


def test_runs_of_one_name_are_told_apart_by_their_parents(tmp_path):
    folders = [report_run(tmp_path / parent / "run") for parent in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == ["a/run", "b/run"]


@pytest.mark.parametrize(("make", "said"), [(False, "no such folder"), (True, "no run: wanted config.yaml")])
def test_what_is_no_run_is_refused(tmp_path, make, said):
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(ConfigError, match=said):
        read_runs([folder])


def test_a_run_that_is_still_on_is_shown_as_far_as_it_is(tmp_path):
    folder = report_run(tmp_path / "run", n_steps=6)
    (folder / "eval/000006.jsonl").unlink()
    (folder / "metrics/000003.jsonl").write_text("")
    (found,) = curves(read_runs([folder]))["runs"]
    assert found["train"]["step"] == [1, 2, 3] and found["eval"]["step"] == [0]


# ---- curves and tables


def test_curves_stand_at_steps_done_beside_what_was_spent_by_then(tmp_path):
    (found,) = curves(read_runs([report_run(tmp_path / "run", n_steps=4)]))["runs"]
    assert found["train"]["step"] == [1, 2, 3, 4] and found["train"]["tokens"] == [100, 200, 300, 400]
    assert found["eval"]["step"] == [0, 4] and found["eval"]["seconds"] == [0, 4]
    assert found["eval"]["values"]["math/pass_at_1"] == [0.2, 0.4]
    assert found["train"]["values"]["policy/entropy"] == [1, 0.5, 0.3333, 0.25]


def test_panels_without_a_value_are_left_out_and_unplaced_metrics_come_last(tmp_path):
    sections = curves(read_runs([report_run(tmp_path / "run", odd__one=1.0)]))["sections"]
    titles = {section["title"]: [panel["title"] for panel in section["panels"]] for section in sections}
    assert titles["Held-out evaluations"][:2] == ["Pass@1, math", "Pass@4, math"]
    assert titles["Training groups"] == ["None-pass groups"] and titles["Policy"] == ["Entropy"]
    assert "odd/one" in titles["More metrics"] and "policy/entropy" not in titles["More metrics"]


def test_evaluations_come_in_order_pass_at_1_first(tmp_path):
    folder = report_run(tmp_path / "run", n_steps=2)
    values = {"n_problems": 1, "length_mean": 9.0, "pass_at_8": 0.5, "low": 0.1, "majority": 0.3, "pass_at_1": 0.2}
    metrics = {name: values for name in ("a", "b")}
    rows = [{"step": 0, "metrics": metrics}, {"benchmark": "a", "id": 0}, {"benchmark": "b", "id": 0}]
    (folder / "eval/000000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "eval/000002.jsonl").unlink()
    panels = curves(read_runs([folder]))["sections"][0]["panels"]
    names = ("Pass@1", "Pass@8", "Majority vote", "Length")
    assert [panel["title"] for panel in panels] == [f"{name}, {benchmark}" for name in names for benchmark in "ab"]


def test_a_long_run_is_averaged_over_equal_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(curves_module, "MOST_POINTS", 3)
    (found,) = curves(read_runs([report_run(tmp_path / "run", n_steps=7)]))["runs"]
    assert found["train"]["step"] == [3, 6, 7] and found["train"]["block"] == 3
    assert found["train"]["values"]["policy/entropy"][0] == round((1 + 1 / 2 + 1 / 3) / 3, 4)


def test_the_overview_has_a_row_per_arm_and_names_what_differs(tmp_path):
    runs = read_runs(two_arms(tmp_path))
    header, rows = overview(runs)
    assert dict(zip(header, rows[0], strict=True))["Pass@1, math"] == "0.200 → 0.450\n(0.400–0.500)"
    assert [row[:2] for row in rows] == [["lte", "0, 1"], ["grpo", "0, 1"]]
    assert differing(runs) == (
        ["setting", "lte", "grpo"],
        [["seed", "0, 1", "0, 1"], ["explore.strategy", "lte", "grpo"]],
    )


# ---- rollouts


def test_a_group_is_named_by_what_became_of_it(tmp_path):
    report_run(tmp_path / "run", n_steps=1)
    write_report([tmp_path / "run"], tmp_path / "page.html")
    found = embedded((tmp_path / "page.html").read_text())
    named = [(group["outcome"], group["mode"]) for group in found]
    assert named == [("rescued", "none_truncated"), ("all", ""), ("failed", "all_truncated")]
    assert found[0]["attempts"][0]["listed"] == ["41", "40"]


def test_a_given_solution_is_no_rescue(tmp_path):
    report_run(tmp_path / "run", n_steps=1, groups=lambda step: [with_trace()])
    write_report([tmp_path / "run"], tmp_path / "page.html")
    (found,) = embedded((tmp_path / "page.html").read_text())
    assert (found["outcome"], found["mode"]) == ("failed", "all_truncated")
    assert found["attempts"][0]["origin"] == "trace" and found["attempts"][0]["rollouts"][0]["member"]


def test_a_note_is_shown_and_is_no_try(tmp_path):
    groups = [noted(), replace(noted(index=1), attempts=noted().attempts[:1])]
    report_run(tmp_path / "run", n_steps=1, groups=lambda step: groups)
    write_report([tmp_path / "run"], tmp_path / "page.html")
    rescue, told = embedded((tmp_path / "page.html").read_text())
    assert (rescue["outcome"], told["outcome"]) == ("rescued", "failed")
    note, tried = rescue["attempts"]
    assert note["purpose"] == "note" and note["rollouts"][0]["response"] == "check the carry"
    assert [(one.get("prompt"), one["given"]) for one in tried["rollouts"]] == [(None, 0), ("a carry to check", 1)]


def test_rescues_stay_before_anything_else(tmp_path):
    runs = read_runs([report_run(tmp_path / "run", n_steps=20)])
    everything = sample(runs, 10**9)
    size = max(len(group) for group in everything.groups) + 1
    small = sample(runs, 25 * size)
    assert everything.n_total == 60 and everything.n_kept == 60 and everything.n_rescues == 20
    assert small.n_rescues_kept == 20 and 20 < small.n_kept < 60
    tight = sample(runs, 5 * size)
    assert tight.n_kept == tight.n_rescues_kept and 0 < tight.n_kept < 20


def test_the_sample_is_keyed_so_that_a_larger_one_holds_the_smaller_one(tmp_path):
    runs = read_runs([report_run(tmp_path / "run", n_steps=20, groups=lambda step: [solved(step, 0), solved(step, 1)])])
    size = len(sample(runs, 10**9).groups[0]) + 1
    kept = [sample(runs, n * size) for n in (8, 8, 16)]
    assert kept[0] == kept[1] and set(kept[0].groups) < set(kept[2].groups)
    steps = [json.loads(group)["step"] for group in kept[0].groups]
    assert steps == sorted(steps) and max(steps) - min(steps) > 4  # from all over: in order, 8 groups are 4 steps


def test_the_file_stays_under_its_limit_and_says_what_it_left_out(tmp_path):
    long = "a very long thought; " * 200
    groups = lambda step: [rescued(step, 0, long), *(solved(step, i, long) for i in range(1, 5))]  # noqa: E731
    folder = report_run(tmp_path / "run", n_steps=30, groups=groups)
    written = write_report([folder], tmp_path / "page.html", most_bytes=450_000)
    page = (tmp_path / "page.html").read_text()
    assert 420_000 < (tmp_path / "page.html").stat().st_size == written["bytes"] <= 450_000
    assert written["rescues_left_out"] == 0 and written["groups_left_out"] > 0
    text = " ".join(re.sub("<[^>]*>", "", page[page.index('<p id="kept">') :]).split())
    assert text.startswith(f"This file holds {written['groups']} of 150 groups: all 30 rescued ones")
    assert f"{written['groups_left_out']} are left out; everything lies in {folder}/rollouts" in text


def test_curves_that_pass_the_limit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="the curves of 1 runs alone pass 1,000 bytes"):
        write_report([report_run(tmp_path / "run")], tmp_path / "page.html", most_bytes=1000)
    assert MOST_BYTES == 20_000_000


def test_a_long_response_is_cut_in_the_middle():
    def row(text):
        rollout = {"response": text, "extracted": None, "correct": True, "member": True, "truncated": False}
        rollout |= {"tokens": 1, "status": "equal", "reward": 1.0}
        whole = {"step": 0, "id": "p", "problem": "", "answer": "", "prompt": "", "rollouts": [rollout]}
        return shown(whole | {"attempts": [], "outcome": "all", "mode": ""}, 0)["rollouts"][0]["response"]

    text = "a" * HEAD + "b" * 1000 + "c" * TAIL
    assert row(text) == f"{'a' * HEAD}\n[… 1,000 characters left out here …]\n{'c' * TAIL}"
    assert row("a" * WHOLE) == "a" * WHOLE


# ---- text is data


def test_json_in_a_script_element_cannot_end_it():
    text = script_json({"response": HOSTILE})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"response": HOSTILE}


def test_hostile_text_reads_back_and_stands_nowhere_as_markup(tmp_path):
    folder = report_run(tmp_path / "</script><script>", n_steps=2, groups=lambda step: [rescued(step, 0, HOSTILE)])
    write_report([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert embedded(page)[0]["attempts"][0]["rollouts"][0]["response"] == HOSTILE
    assert "window.broken" in page and "<script>window.broken" not in page and "<img" not in page
    assert page.count("<script") == len(re.findall("</script>", page)) == 6  # curves, a part, and four scripts


def test_half_a_surrogate_pair_does_not_break_the_file(tmp_path):
    folder = report_run(tmp_path / "run", n_steps=1)
    path = folder / "rollouts/000000.jsonl"
    path.write_text(path.read_text().replace("the hint helped", "half \\ud83d"))
    write_report([folder], tmp_path / "page.html")
    assert embedded((tmp_path / "page.html").read_text())[0]["attempts"][0]["rollouts"][0]["response"] == "half \ud83d"


def test_nothing_of_the_environment_is_in_the_page(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a-secret-of-mine")
    write_report([report_run(tmp_path / "run")], tmp_path / "page.html")
    assert "a-secret-of-mine" not in (tmp_path / "page.html").read_text()


def test_the_page_fetches_nothing(tmp_path):
    write_report([report_run(tmp_path / "run")], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page) and "@import" not in page and "fetch(" not in page


def test_the_package_ships_every_file_of_the_page(tmp_path):
    pytest.importorskip("setuptools", reason="no setuptools in this environment")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    page = Path("lte_jax/report/page")

    def names(root):
        return {path.relative_to(root) for path in (root / page).rglob("*") if path.suffix not in ("", ".pyc")}

    assert names(tmp_path) == names(ROOT) and (tmp_path / page / "vendor/LICENSE-uPlot").is_file()


def test_the_command_writes_beside_the_run_and_counts(tmp_path):
    folder = report_run(tmp_path / "run", n_steps=2)
    counted = json.loads(lte("report", folder, "--json").stdout)
    assert counted["output"] == str(folder / "report.html") and (folder / "report.html").is_file()
    assert (counted["runs"], counted["groups"], counted["rescues"]) == (1, 6, 2)
    assert "error: " in lte("report", tmp_path / "none", check=False).stderr
