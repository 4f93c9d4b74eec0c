"""A run's folder, on a disk or in a bucket, locked while the run is there.

The resume rule: it holds the resolved config, what it reads by content, and checkpoints that fall between steps. The
same command continues from the newest one. Host state is step, cursor into the problems, strategy memory, entropy
coefficient and counters; random keys and evaluation derive from (seed, step). What was written after the checkpoint is
cut and made again, bit for bit on a CPU. What another value of a setting does, its `Kind` says; what changes the
training is refused without `--change`. Another model is refused always.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from etils import epath

from lte_jax.config import Config, ConfigError, Kind, dump
from lte_jax.device.arrays import TrainState
from lte_jax.model_io.checkpoint import CHECKPOINTS, COMMITTED, ITEMS, MODEL, copy_model, newest_step, open_manager
from lte_jax.run.inputs import content_changes
from lte_jax.run.processes import is_first, wait_for_all
from lte_jax.run.starting import StartingWeights
from lte_jax.storage.locks import lock
from lte_jax.storage.paths import is_remote, open_path, write_whole
from lte_jax.storage.run_config import RUN_CONFIG, Change, changes, levers, load_run
from lte_jax.storage.run_files import RunFiles, write_change

HASHES = "hashes.json"


class SaveError(RuntimeError):
    """A checkpoint could not be written; the older ones are there."""


class RunFolder:
    """Raises ConfigError where another run holds the folder, or where it was started with what may not change.

    `contents`: what the run reads, as `inputs.read_contents` gives it; `weights`: where its starting weights lie;
    `change`: it may go on as another training. Of the several processes of one run, the first locks it and writes what
    is not a checkpoint's.
    """

    def __init__(
        self,
        path: str | Path,
        config: Config,
        contents: Mapping[str, str],
        weights: epath.Path,
        warn: Callable[[str], None],
        change: bool = False,
    ):
        self.path = open_path(path)
        self._config, self._warn = config.checkpoint, warn
        self._saving: int | None = None  # the step whose checkpoint is being written
        logging.getLogger("asyncio").addFilter(_drop_duplicate_errors)
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_error:
            self._lock = lock(self.path, warn) if is_first() else None
            if self._lock:
                on_error.callback(self._lock.release)
            changed = _changes(self.path, config, contents, warn if is_first() else _to_nobody)
            _refuse(self.path, changed, change)
            self._weights = StartingWeights(self.path, weights, warn)
            if is_first():
                moved = any(one.name in ("model.path", "model.revision") for one in changed)
                known = self._weights.check(config, moved)
                for said in _set_aside_incomplete(self.path):
                    warn(said)
                _record(self.path, changed, warn)
                if not known and not newest_step(self.path):
                    RunFiles(self.path).cut(-1)  # an evaluation before step 0, of weights that nobody knows
                hashes = {**_json(self.path / HASHES), **contents}
                write_whole(self.path / HASHES, json.dumps(hashes, indent=1))
                write_whole(self.path / RUN_CONFIG, dump(config))
            wait_for_all("checkpoints may be opened")
            self.manager = open_manager(self.path, self._config.keep)
            on_error.pop_all()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception) -> None:
        try:
            self.wait()
        finally:
            self.manager.close()
            if self._lock:
                self._lock.release()

    @property
    def newest(self) -> int:
        """Steps that the newest checkpoint holds; 0 where there is none."""
        return self.manager.latest_step() or 0

    def keep_model(self, source: Path) -> None:
        """Copies tokenizer and configs of the starting model, so that the run folder is a model by itself."""
        if is_first() and not (self.path / MODEL / "config.json").exists():
            copy_model(source, self.path / MODEL)

    def save(self, step: int, state: TrainState, host: dict) -> None:
        """Begins to write a checkpoint in the background; the newest `checkpoint.keep` stay. What becomes of it, `wait`
        tells. Raises ConfigError where another run has taken the folder."""
        self.wait()
        if self._lock:
            self._lock.check()
            self._weights.write_when_known()
        optimiser = state._replace(params={})
        self._saving = step
        with self._report_save_errors():
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    optimiser=ocp.args.StandardSave(optimiser._asdict()),
                    host=ocp.args.JsonSave({**host, "step": step}),
                ),
            )

    def look(self) -> None:
        """As `wait`, where the checkpoint is written or has failed; does not wait for it, nor for the starting weights
        to be known."""
        self._weights.write_when_known(wait=False)
        if self._saving is not None and not self.manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits for the checkpoint that is being written. Where it could not be, what is left of it is removed, and
        `checkpoint.on_error` says whether that is a warning or a SaveError; of several processes, always the latter."""
        if self._saving is not None:
            with self._report_save_errors():
                self.manager.wait_until_finished()
            self._saving = None

    def finish(self, step: int) -> None:
        """Waits for the run's last checkpoint, without which the run is not finished. Raises SaveError."""
        self.wait()
        if self.newest != step:
            raise SaveError(f"{self.path}: the last checkpoint, of step {step}, is missing: the same command makes it")

    @contextmanager
    def _report_save_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever the file system, Orbax and TensorStore make of a full disk
            step, self._saving = self._saving, None
            said = f"{self.path}: the checkpoint of step {step} could not be written ({_in_short(error)})"
            if jax.process_count() > 1:  # the others do not know, and one alone cannot go on
                raise SaveError(f"{said}; the older ones are there") from error
            self.manager.close()
            self.manager = open_manager(self.path, self._config.keep)  # which removes what is half-written
            said += f"; the newest whole one is of step {self.newest}"
            if self._config.on_error == "stop":
                raise SaveError(f"{said}. checkpoint.on_error=continue would go on without it") from error
            self._warn(f"{said}; going on, as checkpoint.on_error says")

    def restore(self, target: TrainState) -> tuple[TrainState, dict] | None:
        """(state, host state) of the newest checkpoint, placed as `target` says; None where there is none."""
        step = self.manager.latest_step()
        if step is None:
            return None
        found = self.manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(target.params),
                optimiser=ocp.args.StandardRestore(target._replace(params={})._asdict()),
                host=ocp.args.JsonRestore(),
            ),
        )
        return TrainState(**{**found["optimiser"], "params": found["params"]}), found["host"]


def _changes(run: epath.Path, config: Config, contents: Mapping[str, str], say: Callable[[str], None]) -> list[Change]:
    """Everything that differs from what the run was started with; nothing at its first start."""
    config_path, hashes_path = run / RUN_CONFIG, run / HASHES
    if not config_path.is_file():
        if (run / CHECKPOINTS).exists():
            raise ConfigError(f"{run}: holds checkpoints but no config.yaml, so it is no run; choose another folder")
        return []
    if not hashes_path.is_file():
        raise ConfigError(f"{hashes_path} is missing: without it this run's files cannot be compared")
    return [*changes(load_run(config_path, say), config), *content_changes(_json(hashes_path), contents)]


def _refuse(run: epath.Path, changed: Sequence[Change], change: bool) -> None:
    """Raises ConfigError for another model, and for another training that was not asked for; says what may change."""
    if other := [str(one) for one in changed if one.kind is None]:
        raise ConfigError(
            f"{run}: this run has another model: {', '.join(other)}. Restore it, or begin another run in another folder"
        )
    method = [str(one) for one in changed if one.kind is Kind.METHOD]
    if method and not change:
        raise ConfigError(
            f"{run}: this run was started with other settings: {', '.join(method)}. Give it another folder, restore "
            "the old values, or add --change: it then goes on with the new ones from its newest checkpoint, and "
            f"changes.jsonl says so. Without --change may differ what changes memory and speed alone ({levers()}), and "
            "what is beside the training (log, eval, checkpoint, limits of time; steps, at a constant learning rate)"
        )


def _record(run: epath.Path, changed: Sequence[Change], warn: Callable[[str], None]) -> None:
    """Says and writes down what differs. Where it changes the training, what was made after the checkpoint is cut: its
    verdicts belong to the old settings."""
    step = newest_step(run)
    said = {
        Kind.LAYOUT: "other settings of memory and speed; the mathematics is the same, the last bits may differ",
        Kind.METHOD: "another training, as --change says",
    }
    for kind, what in said.items():
        if own := [one for one in changed if one.kind is kind]:
            warn(f"{run}: from step {step} on with {what}: {', '.join(map(str, own))}")
            write_change(run, {"step": step, "kind": kind, "changed": {one.name: [one.before, one.now] for one in own}})
    if files := [one.name for one in changed if one.kind is Kind.APART and one.is_file]:
        warn(f"{run}: other problems than in the evaluations before: {', '.join(files)}")
    if any(one.kind is Kind.METHOD for one in changed):
        RunFiles(run).cut(step)


def _json(path: epath.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _to_nobody(text: str) -> None:
    """Of several processes, one speaks."""


def _set_aside_incomplete(run: epath.Path) -> Iterator[str]:
    """Renames checkpoints that lack an item (a full disk, a broken copy), so that the newest whole one is found; in a
    bucket, where nothing can be renamed, removes those that were not written to the end. Says so for each."""
    folder = run / CHECKPOINTS
    for path in [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []:
        if is_remote(path) and not (path / COMMITTED).exists():
            path.rmtree()
            yield f"{path}: a checkpoint that was not written to the end was removed"
        elif not is_remote(path) and not all((path / item).is_dir() for item in ITEMS):
            aside = path.with_name(f"{path.name}.incomplete")
            path.rename(aside)
            yield f"{aside}: a checkpoint that is not whole was set aside"


def _drop_duplicate_errors(record: logging.LogRecord) -> bool:
    """Of the writes of a checkpoint that fail together Orbax raises one, which is said; asyncio would print the trace
    of each other one whenever Python collects it, also behind the line that a run ends with."""
    return "exception was never retrieved" not in record.getMessage()


def _in_short(error: BaseException) -> str:
    """The end of a long message, where the system's own words stand."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"… {text[-200:]}"
