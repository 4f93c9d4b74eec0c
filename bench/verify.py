"""How fast the verifier is, how much of it workers decide, and that a long run neither grows nor gets stuck.

    python bench/verify.py --responses ../shared/benchmarks/responses.jsonl [--n 100000] [--workers 1]
    python bench/verify.py --against math-verify [--benchmarks ../shared/benchmarks]

`--responses`: JSONL of {gold, prediction}. Prints one JSON line each: `speed`, the file's own responses graded once on
one core, every cache cold at the start; `soak`, n responses, half of them the file's, half of them changed at random or
hostile, with the memory of this process and of the workers before and after.

`--against`: one line for each set of cases and verifier: cases, right ones, false positives and negatives, cases per
second. The sets: our own tables in tests/host/verify_cases, and of each file of `--benchmarks` every reference answer
in a box against itself (to be accepted) and against the next row's other one (not to be). math-verify is installed for
this only: `pip install 'math-verify[antlr4_13_2]'`.
"""

import argparse
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lte_jax.host.answers.decide import decide, gold_text, read
from lte_jax.host.answers.extract import extract
from lte_jax.host.verify import Verifier
from lte_jax.host.verify.against import other_verifier
from lte_jax.records import Status

HOSTILE = (
    "9^{9^{9^{9^9}}}", "10^9!", "(" * 500, r"\boxed{" * 500, r"\frac{1}{" * 60, "x^{x^{x^x}}", "nan", "1e309",
    "1" * 5000,
    "__import__('os').system('true')", r"\sqrt{" * 40 + "2" + "}" * 40, "(x+1)^{100}-x", r"\sin(\cos(\tan(x)))^{50}",
    r"\binom{2000}{1000}", r"\lfloor 10^{300}\pi \rfloor", ", ".join(map(str, range(60))), "", "\u200b", "٤٢",
)  # fmt: skip
BATCH = 1_000
TABLES = Path(__file__).resolve().parents[1] / "tests" / "host" / "verify_cases"
Case = tuple[str, str, bool]  # gold, response, whether it is correct


def forget() -> None:
    """Empties every cache of the fast path."""
    for cached in (decide, read, gold_text):
        cached.cache_clear()


def speed(rows: list[tuple[str, str]], repeats: int) -> dict:
    """Responses per CPU second of one core, extraction included; the share that needs no worker."""
    rates = []
    for _ in range(repeats):
        forget()
        start = time.process_time()
        statuses = [decided(*row) for row in rows]
        rates.append(len(rows) / (time.process_time() - start))
    fast = sum(status is not None for status in statuses) / len(rows)
    with Verifier(workers=1) as verifier:
        verifier.same_answer([("x+1", "1+x")])  # the workers are up
        forget()
        start = time.perf_counter()
        verifier.grade_many([(gold, text, False) for gold, text in rows])
        whole = len(rows) / (time.perf_counter() - start)
    rate = statistics.median(rates)
    return {
        "bench": "verify/speed", "n": len(rows), "fast_path_per_s_per_core": round(rate), "all_per_s": round(whole),
        "fast_path_frac": round(fast, 4),
    }  # fmt: skip


def decided(gold: str, response: str):
    found = extract(response)
    return decide(gold, found.answer) if found else Status.NO_ANSWER


def mixed(rows: list[tuple[str, str]], n: int, source: random.Random):
    """n (gold, response, truncated): the file's, the same with characters changed, and hostile answers."""
    for _ in range(n):
        gold, text = source.choice(rows)
        kind = source.random()
        if kind < 0.4:
            at = source.randrange(max(0, len(text) - 80), len(text) + 1)
            text = text[:at] + source.choice("0123456789+-^{}()\\ x,") + text[at + source.randint(0, 2) :]
        elif kind < 0.5:
            text = rf"so \boxed{{{source.choice(HOSTILE)}}}"
        elif kind < 0.6:  # none of these twice: a worker must decide
            a, b = source.randint(2, 9_999), source.randint(0, 1)
            gold, text = rf"\sqrt{{{a}}}\,x + \sin {a} x", rf"\boxed{{\sin({a}x) + x \sqrt{{{a + b}}}}}"
        yield gold, text, source.random() < 0.1


def soak(rows: list[tuple[str, str]], n: int, workers: int) -> dict:
    """Grades n mixed responses in batches; resident memory after a tenth of them and at the end, MiB."""
    statuses: Counter[str] = Counter()
    items = mixed(rows, n, random.Random(0))
    slowest, n_done, early = 0.0, 0, None
    start = time.monotonic()
    with Verifier(workers=workers) as verifier:
        while n_done < n:
            batch = [next(items) for _ in range(min(BATCH, n - n_done))]
            began = time.monotonic()
            statuses.update(verdict.status for verdict in verifier.grade_many(batch))
            slowest = max(slowest, time.monotonic() - began)
            n_done += len(batch)
            if early is None and n_done >= n / 10:
                early = [resident_mb("self"), *map(resident_mb, verifier.pids)]
        late = [resident_mb("self"), *map(resident_mb, verifier.pids)]
        pids = verifier.pids
    seconds = time.monotonic() - start
    return {
        "bench": "verify/soak", "n": n_done, "seconds": round(seconds, 1), "per_s": round(n_done / seconds),
        "slowest_batch_s": round(slowest, 2), "statuses": dict(statuses), "resident_mb_at_a_tenth": early,
        "resident_mb_at_the_end": late, "workers_left": sum(Path(f"/proc/{pid}").exists() for pid in pids),
    }  # fmt: skip


def own_tables() -> dict[str, list[Case]]:
    """The tables of the tests: pairs of answers, which go into a box, and whole responses."""
    pairs = [
        (*line.split(" ;; "), name == "equal")
        for name in ("equal", "different")
        for line in _table(name)
        if not line.startswith("# ")
    ]
    kinds = [line for line in _table("kinds") if line[:2] in ("= ", "! ")]
    pairs += [(*line[2:].split(" ;; "), line[0] == "=") for line in kinds]
    stated, gold = [], ""
    for line in _table("stated"):
        if line.startswith("# ") and " ;; " in line:
            gold = line.split(" ;; ")[1]
        elif line[:2] in ("+ ", "- "):
            stated.append((gold, line[2:].replace("⏎", "\n"), line[0] == "+"))
    boxed = [(gold, rf"So we get $\boxed{{{answer}}}$.", correct) for gold, answer, correct in pairs]
    return {"own pairs": boxed, "own responses": stated}


def _table(name: str) -> list[str]:
    return (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def golds(folder: Path) -> dict[str, list[Case]]:
    """The reference answers of all files, each in a box against itself and against the next other text."""
    answers = [
        row["answer"]
        for path in sorted(folder.glob("*.jsonl"))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        if "answer" in row
    ]
    itself = [(answer, rf"\boxed{{{answer}}}", True) for answer in answers]
    others = [(a, rf"\boxed{{{b}}}", False) for a, b in zip(answers, answers[1:], strict=False) if a != b]
    return {"golds, itself": itself, "golds, the next one": others}


def compare(name: str, folder: Path | None) -> Iterator[dict]:
    """Our verifier and the other one on the same cases, one after the other."""
    other = other_verifier(name)
    with Verifier(workers=1, batch_timeout_s=3_600) as verifier:
        verifier.same_answer([("x+1", "1+x")])  # the workers are up
        for title, cases in (own_tables() | (golds(folder) if folder else {})).items():
            forget()
            start = time.perf_counter()
            verdicts = verifier.grade_many([(gold, response, False) for gold, response, _ in cases])
            middle = time.perf_counter()
            theirs = [other(gold, response) for gold, response, _ in cases]
            end = time.perf_counter()
            yield scored(title, "lte", cases, [verdict.correct for verdict in verdicts], middle - start)
            yield scored(title, name, cases, theirs, end - middle)


def scored(title: str, name: str, cases: list[Case], said: list[bool | None], seconds: float) -> dict:
    wanted = [correct for _, _, correct in cases]
    right = sum(bool(a) == b for a, b in zip(said, wanted, strict=True))
    false_positives = sum(bool(a) and not b for a, b in zip(said, wanted, strict=True))
    return {
        "bench": "verify/against", "set": title, "verifier": name, "n": len(cases), "right": right,
        "right_frac": round(right / len(cases), 4), "false_positives": false_positives,
        "false_negatives": len(cases) - right - false_positives, "failed": said.count(None),
        "per_s": round(len(cases) / seconds),
    }  # fmt: skip


def resident_mb(pid: int | str) -> int:
    """Of a live process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--responses", type=Path)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against")
    parser.add_argument("--benchmarks", type=Path)
    arguments = parser.parse_args()
    if not (arguments.responses or arguments.against):
        parser.error("wanted --responses FILE, --against NAME or both")
    if arguments.responses:
        lines = [json.loads(line) for line in arguments.responses.read_text(encoding="utf-8").splitlines()]
        rows = [(line["gold"], line["prediction"]) for line in lines]
        print(json.dumps(speed(rows, arguments.repeats)), flush=True)
        print(json.dumps(soak(rows, arguments.n, arguments.workers)), flush=True)
    if arguments.against:
        for line in compare(arguments.against, arguments.benchmarks):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
