"""A study: strategies on several seeds, from one base or from each of several; tables, pictures, one rescue.

Each run is a process of its own, `lte train` on a config that lies in the study's folder: a study that was stopped
continues its unfinished runs and skips the others. This process stays free of jax, so that it holds no device.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lte_jax.config import Config, ConfigError, Kind, build, dump, fields, kinds, load
from lte_jax.report.runs import last_evaluation, read_evaluations
from lte_jax.storage.run_files import whole_lines
from lte_jax.study.jobs import Job, run_jobs
from lte_jax.study.results import n_cores, write_bases, write_results
from lte_jax.terminal.live import Live, Pace

BASE, DATA = "base", "data"  # folders that warmup.make_base writes
CONFIGS, CACHE, SECONDS = "configs", "cache", "seconds.json"
BENCHMARKS = ("heldout", "heldout_facts")  # of the built-in task: new problems of practised facts, and of others
SHARED = ("steps", "seed", "model.path", "data.", "eval.", "study.")  # settings that no arm may have of its own
# between two starts of a study
MAY_CHANGE = (
    *("log.", "checkpoint.", "preempt.", "study.arms", "study.references", "study.seeds", "study.parallel"),
    *(name for name, kind in kinds() if kind is Kind.LAYOUT or kind is Kind.APART and name.startswith("verify.")),
)


def run_study(config: Config, folder: Path, live: Live) -> dict:
    """Runs what is missing of a study, writes its results into `folder` and returns what summary.json holds.

    Raises ConfigError for settings that cannot be compared or that differ from an earlier start, and JobError where the
    warm-up or a run failed.
    """
    if config.study.bases:
        return _run_bases(config, folder, live)
    check_comparable(config)
    folder.mkdir(parents=True, exist_ok=True)
    runs = write_configs(config, folder)
    if not (config.model.path or (folder / BASE / "config.json").is_file()):
        with _timed(folder, "warmup"):
            _warm_up(config, folder, live)
    with _timed(folder, "runs"):
        train_runs(config, folder, runs, live)
    real = [arm for arm in config.study.arms if arm_config(config, arm, 0, folder).explore.hints == "real"]
    return write_results(config, folder, runs, real, _seconds(folder), live.say)


def _run_bases(config: Config, folder: Path, live: Live) -> dict:
    """A study of each base in a folder of its own, all checked before the first runs; then what they say together."""
    bases = base_configs(config)
    for own in bases.values():
        check_comparable(own)
    summaries = {}
    for name, own in bases.items():
        live.say(f"base {name}, {len(summaries) + 1} of {len(bases)}")
        summaries[name] = run_study(own, folder / name, live)
    return write_bases(config, folder, summaries, live.say)


def base_configs(config: Config) -> dict[str, Config]:
    """{name: the study of one base}: a task seed N is called taskN, a model by the last part of its path."""
    found: dict[str, Config] = {}
    for base in config.study.bases:
        name = f"task{base}" if isinstance(base, int) else Path(base).name
        if name in found:
            raise ConfigError(f"study.bases: wanted different bases, got {name} twice")
        is_task = isinstance(base, int)
        values = config.model_dump(mode="json")
        values["model"]["path"] = "" if is_task else base
        values["study"] |= {"bases": (), "task_seed": base if is_task else config.study.task_seed}
        found[name] = build(values, where=f"study.bases: {base}")
    return found


def check_comparable(config: Config) -> None:
    """Refuses, before anything runs, what could not be compared in the end. Raises ConfigError."""
    study = config.study
    if not study.arms or not study.seeds:
        raise ConfigError("study.arms and study.seeds: wanted at least one of each; see configs/quickstart.yaml")
    if len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"study.seeds: wanted different seeds, got {list(study.seeds)}")
    if not config.eval.every:
        raise ConfigError("eval.every is 0: a study compares evaluations; wanted the steps between them")
    if config.model.path and not (config.data.train and config.eval.benchmarks):
        raise ConfigError("a study of model.path needs data.train and eval.benchmarks; without it, it makes all three")
    shared = _values(arm_config(config, None, 0, Path()))
    for arm in study.arms:
        if not re.fullmatch(r"[\w.-]+", arm):
            raise ConfigError(f"study.arms: {arm!r} names a folder; wanted letters, digits, '.', '_' and '-'")
        own = _values(arm_config(config, arm, 0, Path()))
        for name in shared:
            if own[name] != shared[name] and name.startswith(SHARED):
                raise ConfigError(f"study.arms.{arm} sets {name}, which all arms share; set it for the whole study")
    if find_spec("matplotlib") is None:
        raise ConfigError("a study draws its curves with matplotlib, which is missing: pip install 'lte_jax[report]'")


def arm_config(config: Config, arm: str | None, seed: int, folder: Path) -> Config:
    """The settings of one run; the built-in task's files are filled in. `arm` None: without an arm's overrides."""
    values = config.model_dump(mode="json")
    values["seed"] = seed
    if not config.model.path:
        files = {name: str(folder / DATA / f"{name}.jsonl") for name in ("train", *BENCHMARKS)}
        values["model"]["path"] = str(folder / BASE)
        values["data"]["train"] = files["train"]
        values["eval"]["benchmarks"] = [{"path": files[name], "name": name} for name in BENCHMARKS]
    return build(values, config.study.arms[arm] if arm else (), where=f"study.arms.{arm}")


def write_configs(config: Config, folder: Path) -> list[tuple[str, int]]:
    """Writes one YAML per run and returns (arm, seed) of each, the arms of a seed beside each other: what disturbs the
    machine for a while then hits all arms alike. Raises ConfigError where an earlier start wrote other settings."""
    (folder / CONFIGS).mkdir(exist_ok=True)
    runs = [(arm, seed) for seed in config.study.seeds for arm in config.study.arms]
    configs = {_config_path(folder, arm, seed): arm_config(config, arm, seed, folder) for arm, seed in runs}
    for path, own in configs.items():
        if path.exists():
            _refuse_other_settings(load(path), own, path)
    for path, own in configs.items():
        path.write_text(dump(own), encoding="utf-8")
    return runs


def _refuse_other_settings(before: Config, now: Config, path: Path) -> None:
    old, new = _values(before), _values(now)
    changed = [
        f"{name} ({old[name]!r} -> {new[name]!r})"
        for name in new
        if not (old[name] == new[name] or name.startswith(MAY_CHANGE) or name == "steps" and new[name] > old[name])
    ]
    if changed:
        changed = ", ".join(changed)
        raise ConfigError(f"{path}: this study was started with other settings: {changed}. Choose another folder")


def _values(config: Config) -> dict[str, object]:
    return {name: value for name, value, _ in fields(config)}


def _warm_up(config: Config, folder: Path, live: Live) -> None:
    """Makes the base; its progress goes to this process's output."""
    path = folder / CONFIGS / "warmup.yaml"
    path.write_text(dump(config), encoding="utf-8")
    live.say(f"warm-up of the base model: {config.warmup.steps} steps")
    run_jobs([Job("warm-up", _lte("warmup", path, folder), _environment(folder, n_parallel=1))], 1)


def train_runs(config: Config, folder: Path, runs: Sequence[tuple[str, int]], live: Live) -> None:
    """Trains what is not finished, `study.parallel` runs at once. Raises JobError where one fails."""
    n_parallel = min(config.study.parallel, len(runs))
    environment = _environment(folder, n_parallel)
    jobs = []
    for arm, seed in runs:
        run = folder / f"{arm}-{seed}"
        if config.steps not in read_evaluations(run):
            command = _lte("train", _config_path(folder, arm, seed), run)
            jobs.append(Job(run.name, command, environment, log=run / "log.txt"))
    live.say(f"{len(runs)} runs, {len(runs) - len(jobs)} of them finished already; {n_parallel} at once")
    progress = _Progress(config.steps, folder, [job.name for job in jobs], len(runs), live)
    try:
        run_jobs(jobs, n_parallel, progress.show, progress.finished)
    finally:
        live.close()


class _Progress:
    """Says which runs are on, how far they are, and how long the rest will take at the rate since the first step."""

    def __init__(self, n_steps: int, folder: Path, names: Sequence[str], n_runs: int, live: Live):
        self.n_steps, self.folder, self.n_runs, self.live = n_steps, folder, n_runs, live
        self.unfinished = list(names)
        self.pace, self.n_before = Pace(window=None), self._n_done()

    def show(self, running: Sequence[str]) -> None:
        n_finished = self.n_runs - len(self.unfinished)
        parts = [f"{name} {self._steps(name)}/{self.n_steps}{self._pass_at_1(name)}" for name in running]
        n_done = self._n_done()
        left = self.pace.left(n_done, self.n_steps * self.n_runs) if n_done > self.n_before else "left ?"
        self.live.status("  ".join([f"{n_finished} of {self.n_runs} runs done", *parts, left]))

    def finished(self, name: str, seconds: float) -> None:
        self.unfinished.remove(name)
        self.live.say(f"{name} finished in {seconds:.0f} s{self._pass_at_1(name)}")

    def _n_done(self) -> int:
        """Steps of all runs together, finished ones included."""
        started = sum(self._steps(name) for name in self.unfinished)
        return started + self.n_steps * (self.n_runs - len(self.unfinished))

    def _steps(self, name: str) -> int:
        """Steps that a run has done, from the last line of its newest metrics file."""
        paths = sorted((self.folder / name / "metrics").glob("*.jsonl"))
        whole = [line for path in paths[-1:] for line in whole_lines(path)]
        return json.loads(whole[-1])["step"] + 1 if whole else 0

    def _pass_at_1(self, name: str) -> str:
        found = last_evaluation(self.folder / name)
        return f" Pass@1 {next(iter(found.values()))['pass_at_1']:.3f}" if found else ""


def _config_path(folder: Path, arm: str, seed: int) -> Path:
    return folder / CONFIGS / f"{arm}-{seed}.yaml"


def _lte(command: str, config: Path, run: Path) -> list[str]:
    return [sys.executable, "-m", "lte_jax.cli", command, str(config), "--run", str(run)]


def _environment(folder: Path, n_parallel: int) -> dict[str, str]:
    """Of a run's process: compiled programs are kept, and runs beside each other share the cores evenly."""
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str((folder / CACHE).absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    shared = {}
    if n_parallel > 1:
        cores = max(1, n_cores() // n_parallel)
        shared["NPROC"] = str(cores)  # threads of XLA's CPU client
        if cores == 1:
            shared["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    return {**compiled, **os.environ, **shared, "PYTHONUNBUFFERED": "1"}


@contextmanager
def _timed(folder: Path, phase: str) -> Iterator[None]:
    """Adds the wall seconds of a phase to the study's own record, also where it is broken off."""
    start = time.monotonic()
    try:
        yield
    finally:
        seconds = _seconds(folder)
        seconds[phase] = round(seconds.get(phase, 0.0) + time.monotonic() - start, 1)
        (folder / SECONDS).write_text(json.dumps(seconds), encoding="utf-8")


def _seconds(folder: Path) -> dict[str, float]:
    """Wall seconds by phase, summed over the starts of the study."""
    path = folder / SECONDS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
