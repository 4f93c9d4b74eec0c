"""Pass@1 and unbiased Pass@k over problem files, with samples, temperature and top-p of their own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lte_jax.processes import all_values, own_share
from lte_jax.records import Origin, Problem, Prompt, Request, Rollout
from lte_jax.rollout import EVALUATE
from lte_jax.session import Session, open_problems, with_prompts


@dataclass(frozen=True)
class Benchmark:
    """A problem file, read and turned into prompts."""

    name: str
    problems: tuple[tuple[Problem, Prompt], ...]
    samples: int
    k: tuple[int, ...]


def open_benchmarks(session: Session, say: Callable[[str], None] = print) -> list[Benchmark]:
    """The files of `eval.benchmarks`, cut to `eval.limit` problems."""
    config, benchmarks = session.config.eval, []
    for entry in config.benchmarks:
        problems = tuple(
            with_prompts(session, open_problems(entry.path, session.verifier, say)[: config.limit or None])
        )
        name = entry.name or Path(entry.path).stem
        benchmarks.append(Benchmark(name, problems, entry.samples or config.samples, entry.k or config.k))
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise ValueError(f"eval.benchmarks: names must differ, got {names}; set `name`")
    return benchmarks


def evaluate(
    session: Session,
    benchmarks: Sequence[Benchmark],
    progress: Callable[[int, int], None] = lambda n_done, n_total: None,
    before_exchange: Callable[[], None] = lambda: None,
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """(metrics by benchmark, one row per problem). The engine must hold the weights.

    The random keys depend on the place in the file alone, neither on the step nor on the run's seed: every evaluation
    of every run draws alike. `before_exchange` is called in all processes before they exchange a benchmark's rows.
    """
    metrics: dict[str, dict[str, float]] = {}
    rows: list[dict] = []
    n_total = sum(len(benchmark.problems) * benchmark.samples for benchmark in benchmarks)
    n_done = 0
    for place, benchmark in enumerate(benchmarks):
        found = _rows(session, benchmark, place, lambda n: progress(n_done + n, n_total), before_exchange)
        n_done += len(benchmark.problems) * benchmark.samples
        metrics[benchmark.name] = summary(found, benchmark.k)
        rows += found
    return metrics, rows


def _rows(
    session: Session, benchmark: Benchmark, stream: int, drawn: Callable[[int], None], before_exchange
) -> list[dict]:
    """One row per problem, in order; each process draws and grades its share of the problems."""
    samples, own = benchmark.samples, own_share(range(len(benchmark.problems)))
    owners = [(i, j) for i in own for j in range(samples)]
    requests = [Request(benchmark.problems[i][1], (0, EVALUATE, 0, i, stream, j)) for i, j in owners]
    responses = {}
    for place, response in session.engine.generate(requests, session.evaluation_sampling()):
        responses[place] = response
        drawn(len(responses))
    rollouts = [
        session.judge.rollout(responses[place], benchmark.problems[i][1], Origin.PLAIN, 0, j)
        for place, (i, j) in enumerate(owners)
    ]
    graded = session.judge.grade([benchmark.problems[i][0] for i, _ in owners], rollouts)
    rows = {
        i: _row(benchmark, benchmark.problems[i][0], graded[n * samples : (n + 1) * samples]) for n, i in enumerate(own)
    }
    before_exchange()
    found = [(int(i), row) for part in all_values(rows) for i, row in part.items()]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _row(benchmark: Benchmark, problem: Problem, rollouts: Sequence[Rollout]) -> dict:
    return {
        "benchmark": benchmark.name,
        "id": problem.id,
        "answer": problem.answer,
        "n_samples": benchmark.samples,
        "n_correct": sum(r.correct for r in rollouts),
        "n_truncated": sum(r.truncated for r in rollouts),
        "n_undecided": sum(not r.decided for r in rollouts),
        "n_tokens": sum(len(r.tokens) for r in rollouts),
        "extracted": [r.verdict.extracted for r in rollouts],
        "correct": [r.correct for r in rollouts],
        "responses": [r.text for r in rollouts],
    }


def summary(rows: Sequence[dict], ks: Sequence[int]) -> dict[str, float]:
    """Means over problems. A response without a verdict counts as wrong, and is counted."""
    n_samples = sum(row["n_samples"] for row in rows)
    return {
        "n_problems": len(rows),
        "n_samples": rows[0]["n_samples"],
        "pass_at_1": _mean(pass_at_k(row["n_samples"], row["n_correct"], 1) for row in rows),
        **{f"pass_at_{k}": _mean(pass_at_k(row["n_samples"], row["n_correct"], k) for row in rows) for k in ks},
        "none_pass_frac": _mean(row["n_correct"] == 0 for row in rows),
        "truncated_frac": sum(row["n_truncated"] for row in rows) / n_samples,
        "length_mean": sum(row["n_tokens"] for row in rows) / n_samples,
        "n_undecided": sum(row["n_undecided"] for row in rows),
    }


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): unbiased from n samples of which c are correct (arXiv 2107.03374)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def _mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)
