"""Evaluation in training and by `lte eval`: samples of problem files, graded, one row per problem.

A response is stored as soon as it is drawn and graded once its problem has all of its samples, while the device draws
on. Random keys depend on the place in the suite and in the file alone: every evaluation of every run draws alike.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import jax

from lte_jax.config import BenchmarkConfig, Config, ConfigError
from lte_jax.engine.rollout import EVALUATE
from lte_jax.host.problems import file_hash
from lte_jax.host.scores import majority_vote, summary
from lte_jax.host.verify import Verifier
from lte_jax.records import NoVerdictError, Problem, Prompt, Request, Sampling
from lte_jax.run.inputs import module_file
from lte_jax.run.positions import evaluation_rows
from lte_jax.run.processes import all_values, own_share
from lte_jax.run.session import Session, open_problems, open_session, with_prompts
from lte_jax.storage.resumable import Resumable
from lte_jax.terminal.live import Live

SAMPLE_KEY = ("benchmark", "id", "index")  # what tells the stored samples of an evaluation apart


@dataclass(frozen=True)
class Benchmark:
    """A problem file, read and turned into prompts, and how it is sampled. `place`: in the suite."""

    name: str
    path: str
    place: int
    problems: tuple[tuple[Problem, Prompt], ...]
    samples: int
    k: tuple[int, ...]
    sampling: Sampling


class Store(Protocol):
    """Where samples are kept: those that are `done`, by SAMPLE_KEY, are not drawn again."""

    done: dict[tuple, dict]

    def write(self, row: dict) -> None: ...


class NotStored:
    """A store that keeps nothing."""

    def __init__(self):
        self.done: dict[tuple, dict] = {}

    def write(self, row: dict) -> None:
        pass


def open_benchmarks(
    session: Session, say: Callable[[str], None] = print, show: Callable[[str], None] = lambda text: None
) -> list[Benchmark]:
    """The files of `eval.benchmarks`, cut to `eval.limit` problems. Raises ConfigError where two names are the same."""
    ours, benchmarks = session.config.eval, []
    for place, entry in enumerate(ours.benchmarks):
        problems = open_problems(entry.path, session.verifier, say, show)[: ours.limit or None]
        name, samples, k = entry.name or Path(entry.path).stem, entry.samples or ours.samples, entry.k or ours.k
        prompted = tuple(with_prompts(session, problems))
        sampling = _sampling(session.config, entry)
        benchmarks.append(Benchmark(name, entry.path, place, prompted, samples, k, sampling))
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise ConfigError(f"eval.benchmarks: names must differ, got {names}; set `name`")
    return benchmarks


def _sampling(config: Config, entry: BenchmarkConfig) -> Sampling:
    ours = config.eval
    return Sampling(
        temperature=ours.temperature if entry.temperature is None else entry.temperature,
        top_p=ours.top_p if entry.top_p is None else entry.top_p,
        top_k=ours.top_k,
        response_budget=entry.response_budget or ours.response_budget or config.sample.response_budget,
    )


def evaluate_model(
    config: Config, verifier: Verifier, live: Live, output: Path | None
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """As `evaluate`, for the model that the config names. `output`: folder whose samples.jsonl keeps the samples; of
    several processes, one that all see."""
    session = open_session(config, evaluation_rows(config), verifier, live.say)
    opened = open_benchmarks(session, live.say, live.status)
    session.engine.load(session.model.load())

    watch = Watch(progress=lambda n_done, n_total: live.status(f"{n_done} of {n_total} responses"))
    if output is None:
        return evaluate(session, opened, watch)
    with open_store(output, jax.process_index(), sample_settings(session, opened)) as store:
        live.say(f"{output}: {len(store.done)} responses are there")
        return evaluate(session, opened, watch, store=store)


def open_store(folder: Path, process: int, settings: dict) -> Resumable:
    """The samples of an evaluation: process 0 writes samples.jsonl, process n samples.n.jsonl, and each reads all of
    them, also those of processes that there were before."""
    own = folder / (f"samples.{process}.jsonl" if process else "samples.jsonl")
    parts = {folder / "samples.jsonl", *folder.glob("samples.[0-9]*.jsonl")}
    return Resumable(own, settings, SAMPLE_KEY, sorted(parts - {own}))


def sample_settings(session: Session, benchmarks: Sequence[Benchmark]) -> dict:
    """What decides which responses are drawn; layout, mesh, and how many of them do not."""
    config = session.config
    prompt = config.prompt.model_dump(mode="json", exclude={"hints", "hinted_budget"})
    return {
        "model": str(session.model.source),
        "model.compute_dtype": config.model.compute_dtype,
        **{f"prompt.{key}": value for key, value in prompt.items()},
        "sample.stop_strings": list(config.sample.stop_strings),
        **{f"benchmark {b.name}": [file_hash(b.path), b.place, _drawn_with(b.sampling)] for b in benchmarks},
    }


def made_with(session: Session, benchmarks: Sequence[Benchmark]) -> str:
    """SHA-256 of everything but the weights that decides what an evaluation in training gives."""
    config = session.config
    decides = {
        **sample_settings(session, benchmarks),
        "model": None,
        "counts": {b.name: [len(b.problems), b.samples, b.k] for b in benchmarks},
        "verify.conventions": config.verify.conventions.model_dump(),
        "reward": [config.reward, file_hash(path) if (path := module_file(config.reward)) else None],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _drawn_with(sampling: Sampling) -> dict:
    """Without annealing, which no evaluation has, nor did the files of older versions."""
    return {name: value for name, value in asdict(sampling).items() if name != "annealing"}


@dataclass(frozen=True)
class Watch:
    """What an evaluation calls on its way. What one of them raises ends it."""

    progress: Callable[[int, int], None] = lambda n_done, n_total: None
    between_chunks: Callable[[], None] = lambda: None
    before_exchange: Callable[[], None] = lambda: None  # in all processes, before they exchange a benchmark's rows


def evaluate(
    session: Session, benchmarks: Sequence[Benchmark], watch: Watch = Watch(), *, store: Store | None = None
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """(metrics by benchmark, one row per problem). The engine must hold the weights."""
    store = store or NotStored()
    metrics: dict[str, dict[str, float]] = {}
    rows: list[dict] = []
    n_total = sum(len(benchmark.problems) * benchmark.samples for benchmark in benchmarks)
    n_before = 0
    for benchmark in benchmarks:
        of_one = replace(watch, progress=lambda n, _, before=n_before: watch.progress(before + n, n_total))
        found = _rows(session, benchmark, store, of_one)
        n_before += len(benchmark.problems) * benchmark.samples
        _refuse_if_nothing_is_graded(benchmark, found)
        metrics[benchmark.name] = summary(found, benchmark.k)
        rows += found
    return metrics, rows


def _refuse_if_nothing_is_graded(benchmark: Benchmark, rows: Sequence[dict]) -> None:
    """A response without a verdict counts as wrong, but a Pass@1 of these alone would say nothing of the model."""
    n_samples = sum(row["n_samples"] for row in rows)
    if sum(row["n_undecided"] for row in rows) == n_samples:
        raise NoVerdictError(
            f"{benchmark.name}: nothing was graded, no verdict for any of {n_samples} responses: "
            f"{rows[0]['undecided_reason']}"
        )


def _rows(session: Session, benchmark: Benchmark, store: Store, watch: Watch) -> list[dict]:
    """One row per problem, in the file's order. Each process draws and grades its share of the problems; verdicts are
    taken in a thread while the device draws."""
    share = own_share(range(len(benchmark.problems)))
    of_problem: dict[int, list[dict]] = {}
    verdicts = {}
    grader = ThreadPoolExecutor(1, "evaluation")
    try:
        drawn = _samples(session, benchmark, share, store, watch.between_chunks)
        for n_drawn, (i, sample) in enumerate(drawn, start=1):
            own = of_problem.setdefault(i, [])
            own.append(sample)
            if len(own) == benchmark.samples:
                own.sort(key=lambda sample: sample["index"])
                verdicts[i] = grader.submit(_problem_row, session, benchmark, benchmark.problems[i][0], own)
            watch.progress(n_drawn, len(share) * benchmark.samples)
        rows = {i: verdicts[i].result() for i in share}
    finally:
        grader.shutdown(wait=False, cancel_futures=True)
    watch.before_exchange()
    of_all = {int(i): row for part in all_values(rows) for i, row in part.items()}
    return [of_all[i] for i in range(len(benchmark.problems))]


def _samples(
    session: Session, benchmark: Benchmark, share: Sequence[int], store: Store, between_chunks: Callable[[], None]
) -> Iterator[tuple[int, dict]]:
    """(place of the problem, sample) of this process's share: first what is stored, then the others as they finish."""
    missing = []
    for i in share:
        for j in range(benchmark.samples):
            stored = store.done.get((benchmark.name, benchmark.problems[i][0].id, j))
            if stored is None:
                missing.append((i, j))
            else:
                yield i, stored
    requests = [Request(benchmark.problems[i][1], (0, EVALUATE, 0, i, benchmark.place, j)) for i, j in missing]
    for which, response in session.engine.generate(requests, benchmark.sampling, between_chunks):
        i, j = missing[which]
        sample = {
            "benchmark": benchmark.name,
            "id": benchmark.problems[i][0].id,
            "index": j,
            "response": session.tokenizer.decode(response.tokens.tolist()),
            "tokens": len(response.tokens),
            "truncated": response.truncated,
        }
        store.write(sample)
        yield i, sample


def _problem_row(session: Session, benchmark: Benchmark, problem: Problem, samples: Sequence[dict]) -> dict:
    verdicts = session.verifier.grade_problems([(problem, s["response"], s["truncated"]) for s in samples])
    answers, correct = [verdict.extracted for verdict in verdicts], [verdict.correct for verdict in verdicts]
    undecided = [verdict for verdict in verdicts if not verdict.decided]
    return {
        "benchmark": benchmark.name,
        "id": problem.id,
        "answer": problem.answer,
        "n_samples": len(samples),
        "n_correct": sum(correct),
        "n_truncated": sum(sample["truncated"] for sample in samples),
        "n_undecided": len(undecided),
        "undecided_reason": undecided[0].reason or f"verdict {undecided[0].status}" if undecided else "",
        "n_tokens": sum(sample["tokens"] for sample in samples),
        "majority": majority_vote(answers, correct, session.verifier.same_answer),
        "extracted": answers,
        "correct": correct,
        "responses": [sample["response"] for sample in samples],
    }
