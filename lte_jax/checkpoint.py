"""Checkpoints and models on disk.

The resume rule: a run folder holds the resolved config, the data's hash and checkpoints that fall between steps. The
same command continues from the newest one. Host state is step, cursor into the problems, strategy memory, entropy
coefficient and counters; random keys and evaluation derive from (seed, step). What was written after the checkpoint
is cut and made again, bit for bit on a CPU. A changed config or data file is refused, but for steps, logging,
evaluation, checkpointing and the verifier's limits.
"""

import fcntl
import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import orbax.checkpoint as ocp
import yaml
from jax.sharding import Mesh

from lte_jax import convert
from lte_jax.config import Config, ConfigError, MeshConfig, dump
from lte_jax.device.arrays import TrainState
from lte_jax.device.mesh import abstract_params, check_divides, make_mesh
from lte_jax.device.weights import Architecture
from lte_jax.hf_config import read_config
from lte_jax.host.tokenizer import open_tokenizer
from lte_jax.processes import is_first, wait_for_all

LIMITS = tuple(
    f"verify.{name}" for name in ("workers", "timeout_s", "memory_mb", "batch_timeout_s", "equality_timeout_s")
)
MAY_CHANGE = ("steps", "log", "eval", "checkpoint", "study", *LIMITS)
CHECKPOINTS, MODEL = "checkpoints", "model"
ITEMS = ("params", "optimiser", "host")


@dataclass(frozen=True)
class Model:
    """A model on disk, looked at: `load` reads its float32 weights onto the mesh, which a resumed run never needs."""

    arch: Architecture
    load: Callable[[], dict]
    stop_ids: tuple[int, ...]  # of config.json and generation_config.json; the tokenizer knows more
    folder: Path  # with its tokenizer and Hugging Face config


def open_model(path: str | Path, mesh: Mesh) -> Model:
    """Looks at a Hugging Face folder, a run folder (its newest checkpoint) or one checkpoint of a run."""
    path = Path(path)
    run, step = _as_checkpoint(path)
    folder = run / MODEL if run else path
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{path}: neither a Hugging Face folder (no config.json) nor a run folder (no checkpoint)")
    found = read_config(folder)
    check_divides(found.arch, mesh)
    if run:
        load = partial(_restore_params, run, step, found.arch, mesh)
    else:
        load = partial(convert.import_params, folder, found.arch, mesh)
    return Model(found.arch, load, found.stop_ids, folder)


def _as_checkpoint(path: Path) -> tuple[Path, int] | tuple[None, None]:
    """(run folder, step) where the path is a run or one of its checkpoints."""
    if path.parent.name == CHECKPOINTS and path.name.isdigit() and path.is_dir():
        return path.parent.parent, int(path.name)
    steps = [int(p.parent.name) for p in (path / CHECKPOINTS).glob("*/params") if p.parent.name.isdigit()]
    return (path, max(steps)) if steps else (None, None)


def _restore_params(run: Path, step: int, arch: Architecture, mesh: Mesh) -> dict:
    target = ocp.args.StandardRestore(abstract_params(arch, mesh))
    with _manager(run) as manager:
        return manager.restore(step, args=ocp.args.Composite(params=target))["params"]


def import_hf(source: Path, run: Path) -> None:
    """Makes a folder whose checkpoint 0 holds the weights of a Hugging Face folder, float32, beside its tokenizer."""
    if run.exists() and any(run.iterdir()):
        raise ConfigError(f"{run}: wanted a new or empty folder, this one holds files")
    model = open_model(source, make_mesh(MeshConfig()))
    unfinished = run.with_name(f"{run.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _copy_model(model.folder, unfinished / MODEL)
    with _manager(unfinished) as manager:
        manager.save(0, args=ocp.args.Composite(params=ocp.args.StandardSave(model.load())))
    unfinished.rename(run)


def export_hf(source: Path, target: Path, dtype: str) -> None:
    """Writes a model as a Hugging Face folder, tokenizer included. `dtype`: bfloat16 or float32."""
    model = open_model(source, make_mesh(MeshConfig()))
    tokenizer = open_tokenizer(model.folder)
    convert.export_params(
        target,
        model.arch,
        model.load(),
        dtype=dtype,
        config_from=model.folder,
        stop_ids=model.stop_ids,
        finish=tokenizer.save,
    )


def _copy_model(source: Path, target: Path) -> None:
    """Tokenizer and configs, not weights; there whole or not at all."""
    partial_copy = target.with_name(target.name + ".partial")
    shutil.rmtree(partial_copy, ignore_errors=True)
    open_tokenizer(source).save(partial_copy)
    for name in ("config.json", "generation_config.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, partial_copy / name)
    partial_copy.rename(target)


def _manager(run: Path, keep: int | None = None) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        (run / CHECKPOINTS).absolute(),
        item_names=ITEMS,
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=keep is not None),
    )


class RunFolder:
    """One run's folder, locked while it is open. Raises ConfigError where another run holds it.

    Of the several processes of one run, the first locks it and writes what is not a checkpoint's.
    """

    def __init__(self, path: str | Path, config: Config, data_hash: str):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path) if is_first() else nullcontext()
        self.incomplete: list[Path] = []
        with ExitStack() as on_error:
            on_error.enter_context(self._lock)
            self._refuse_changes(config, data_hash)
            if is_first():
                _write(self.path / "data.json", json.dumps({"sha256": data_hash}))
                _write(self.path / "config.yaml", dump(config))
                self.incomplete = _set_aside_incomplete(self.path / CHECKPOINTS)
            wait_for_all("checkpoints may be opened")
            self.manager = _manager(self.path, config.checkpoint.keep)
            on_error.pop_all()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception) -> None:
        self.manager.wait_until_finished()
        self.manager.close()
        self._lock.__exit__(*exception)

    def keep_model(self, source: Path) -> None:
        """Copies tokenizer and configs of the starting model, so that the run folder is a model by itself."""
        if is_first() and not (self.path / MODEL).exists():
            _copy_model(source, self.path / MODEL)

    def save(self, step: int, state: TrainState, host: dict) -> None:
        """Writes a checkpoint in the background; the newest `checkpoint.keep` stay."""
        optimiser = state._replace(params={})
        self.manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                optimiser=ocp.args.StandardSave(optimiser._asdict()),
                host=ocp.args.JsonSave({**host, "step": step}),
            ),
        )

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

    def _refuse_changes(self, config: Config, data_hash: str) -> None:
        """Refuses other values than the run was started with, and names them."""
        config_path, data_path = self.path / "config.yaml", self.path / "data.json"
        if (self.path / CHECKPOINTS).exists() and not config_path.is_file():
            raise ConfigError(
                f"{self.path}: holds checkpoints but no config.yaml, so it is no run; choose another folder"
            )
        if config_path.is_file():
            if not data_path.is_file():
                raise ConfigError(f"{data_path} is missing: without it this run's data cannot be compared")
            before = yaml.safe_load(config_path.read_text(encoding="utf-8"))
            changed = sorted(_changes(before, yaml.safe_load(dump(config))))
            falling = config.optim.schedule != "constant" and before.get("steps") != config.steps
            if falling:
                changed.append(f"steps (optim.schedule={config.optim.schedule} depends on it)")
            if json.loads(data_path.read_text())["sha256"] != data_hash:
                changed.append("data.train (the file's content)")
            if changed:
                raise ConfigError(
                    f"{self.path}: this run was started with other settings: {', '.join(changed)}. "
                    "Give it another folder, or restore the old values"
                )


def _locked(run: Path) -> IO:
    """The run's lock file, held until it is closed."""
    lock = (run / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"{run}: another process is running here; wait for it or choose another folder") from None
    return lock


def _set_aside_incomplete(checkpoints: Path) -> list[Path]:
    """Renames checkpoints that lack an item (a full disk, a broken copy), so that the newest whole one is found."""
    moved = []
    for path in checkpoints.glob("*"):
        if path.name.isdigit() and not all((path / item).is_dir() for item in ITEMS):
            moved.append(path.rename(path.with_name(f"{path.name}.incomplete")))
    return moved


def _write(path: Path, text: str) -> None:
    """There whole or not at all."""
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)


def _changes(before: dict, after: dict, prefix: str = "") -> list[str]:
    found = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if f"{prefix}{key}" in MAY_CHANGE or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changes(old, new, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key} ({old!r} -> {new!r})")
    return found
