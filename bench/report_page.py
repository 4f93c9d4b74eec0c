"""The report's page: how long from navigation to the first painted chart, and how large the file is.

    python bench/report_page.py [RUN...] [--steps 500] [--seeds 3] [--times 5]

Without RUN it writes runs of its own in a temporary folder: `--steps` steps of 32 groups, 8 rollouts of about 400
characters each, two arms on `--seeds` seeds; that is more than the file has room for. One JSON line; `first_chart_s`
is [median, smallest, largest] over `--times` loads in headless Chromium, each in a new window. The page's own mark is
set two frames after the first chart was drawn. Needs the extra `browser` and a chromium (CHROMIUM=PATH names it).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from lte_jax.config import build, dump
from lte_jax.report.page.write import write_report

GROUPS, ROLLOUTS, WORDS = 32, 8, 70
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MARKS = "performance.getEntriesByName('first-chart').map((mark) => mark.startTime)"
METRICS = (
    "group/none_pass_frac_before group/none_pass_frac_after group/some_pass_frac_before group/some_pass_frac_after "
    "group/all_pass_frac_before group/all_pass_frac_after failure/all_truncated_frac failure/some_truncated_frac "
    "failure/none_truncated_frac failure/no_answer_frac rescue/hinted_rate rescue/hinted_hit_frac reward/mean_before "
    "reward/mean_after policy/entropy ratio/on_policy_mean ratio/on_policy_max ratio/hinted_mean "
    "ratio/hinted_shaped_mean ratio/clipped_frac update/grad_norm response/length_mean response/length_max "
    "response/truncated_frac mismatch/mean_abs mismatch/max_abs speed/sample_tokens_per_s speed/update_tokens_per_s "
    "time/step_s time/sample_s time/update_s time/verify_s time/hint_s"
).split()


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rollout(draw: random.Random, correct: bool) -> dict:
    words = " ".join(draw.choice(("so", "the sum is", "then", "x = 3", "hence", "wait")) for _ in range(WORDS))
    return {
        "response": words,
        "extracted": "7",
        "correct": correct,
        "member": True,
        "truncated": False,
        "tokens": WORDS,
        "status": "equal" if correct else "different",
        "reward": float(correct),
    }


def group(draw: random.Random, step: int, index: int) -> dict:
    """One in eight fails and is tried again; half of those are rescued."""
    fails = index % 8 == 0
    again = {"origin": "hinted", "mode": "none_truncated", "listed": ["7"], "prompt": "a problem, not 7"}
    drawn = [rollout(draw, fails and index % 16 == 0) for _ in range(ROLLOUTS)]
    return {
        "step": step,
        "group": index,
        "id": f"p{index}",
        "problem": "a problem of some length, as they come",
        "answer": "8",
        "prompt": "a problem of some length, as they come. Answer:",
        "rollouts": [rollout(draw, not fails and place % 2 == 0) for place in range(ROLLOUTS)],
        "attempts": [{**again, "rollouts": drawn}] if fails else [],
    }


def write_run(folder: Path, strategy: str, seed: int, n_steps: int) -> Path:
    draw = random.Random(f"{strategy} {seed}")
    rows = [{"step": step, "sample/tokens": 10**5} | {key: draw.random() for key in METRICS} for step in range(n_steps)]
    write_lines(folder / "metrics/000000.jsonl", rows)
    for step in range(0, n_steps + 1, 20):
        values = {"n_problems": 1, "n_samples": 16, "pass_at_1": draw.random(), "pass_at_16": draw.random()}
        write_lines(folder / f"eval/{step:06d}.jsonl", [{"step": step, "metrics": {"heldout": values}}, {"id": "p"}])
    for step in range(n_steps):
        write_lines(folder / f"rollouts/{step:06d}.jsonl", [group(draw, step, index) for index in range(GROUPS)])
    settings = build({"seed": seed, "steps": n_steps, "explore": {"strategy": strategy}})
    (folder / "config.yaml").write_text(dump(settings), encoding="utf-8")
    return folder


def first_chart_s(page_file: Path, times: int) -> list[float]:
    """Seconds from navigation to the mark, once for each load."""
    found = []
    with (
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(page_file.as_uri())
            while not (marks := page.evaluate(MARKS)):
                page.wait_for_timeout(50)
            found.append(marks[0] / 1000)
            page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = (
            [] if options.runs else [(strategy, seed) for strategy in ("grpo", "lte") for seed in range(options.seeds)]
        )
        runs = options.runs or [
            write_run(Path(folder) / f"{strategy}-{seed}", strategy, seed, options.steps) for strategy, seed in made
        ]
        start = time.perf_counter()
        written = write_report(runs, Path(folder) / "report.html")
        write_s = time.perf_counter() - start
        seconds = first_chart_s(Path(folder) / "report.html", options.times)
    spread = [round(value, 3) for value in (statistics.median(seconds), min(seconds), max(seconds))]
    del written["output"]
    print(json.dumps({"bench": "report_page", "first_chart_s": spread, "write_s": round(write_s, 1), **written}))


if __name__ == "__main__":
    main()
