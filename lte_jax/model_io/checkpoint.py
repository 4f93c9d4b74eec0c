"""Models as they are stored: a Hugging Face folder, a run folder or one of its checkpoints; and from one to another."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh

from lte_jax.config import Config, ConfigError, MeshConfig
from lte_jax.device.mesh import abstract_params, check_divides, make_mesh
from lte_jax.device.weights import Architecture
from lte_jax.host.prompts import chat_template
from lte_jax.host.tokenizers.tokenizer import Tokenizer, open_tokenizer
from lte_jax.model_io import convert
from lte_jax.model_io.hf_config import read_config
from lte_jax.storage.paths import copy_files, is_remote, on_disk, open_path
from lte_jax.storage.run_config import RUN_CONFIG, load_run

CHECKPOINTS, MODEL = "checkpoints", "model"
ITEMS = ("params", "optimiser", "host")
COMMITTED = "commit_success.txt"  # what Orbax writes last where folders cannot be renamed


@dataclass(frozen=True)
class Model:
    """A model on disk, looked at: `load` reads its float32 weights onto the mesh, which a resumed run never needs."""

    arch: Architecture
    load: Callable[[], dict]
    check: Callable[[], None]  # raises ConvertError for weight files that `load` would refuse; reads their headers
    max_positions: int
    stop_ids: tuple[int, ...]  # of config.json and generation_config.json; the tokenizer knows more
    folder: Path  # with its tokenizer and Hugging Face config
    source: epath.Path  # where the weights lie: of a run, the checkpoint that was found newest


def open_model(path: str | Path, mesh: Mesh) -> Model:
    """Looks at a Hugging Face folder, a run folder (its newest checkpoint) or one checkpoint of a run."""
    path, folder = open_path(path), model_files(path)
    run, step = as_checkpoint(path)
    found = read_config(folder)
    check_divides(found.arch, mesh)
    if run:
        load = partial(_restore_params, run, step, found.arch, mesh)
        path = run / CHECKPOINTS / str(step)
    else:
        load = partial(convert.import_params, folder, found.arch, mesh)
    check = partial(check_weights, path, folder, found.arch)
    return Model(found.arch, load, check, found.max_positions, found.stop_ids, folder, path)


def check_weights(path: str | Path, folder: Path, arch: Architecture) -> None:
    """Raises ConvertError where the weights of a Hugging Face folder cannot be read into the architecture, without a
    device. Those of a run were written by us, whole or not at all."""
    if as_checkpoint(open_path(path)) == (None, None):
        convert.open_weights(folder, arch)


def model_files(path: str | Path) -> Path:
    """The folder with tokenizer and Hugging Face config of what `open_model` takes. ConfigError where it is neither."""
    path = open_path(path)
    run, _ = as_checkpoint(path)
    folder = run / MODEL if run else path
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{path}: neither a Hugging Face folder (no config.json) nor a run folder (no checkpoint)")
    if not run and is_remote(path):
        raise ConfigError(f"{path}: a Hugging Face folder must lie on this machine's disk or be mounted there")
    return on_disk(folder)


def as_checkpoint(path: epath.Path) -> tuple[epath.Path, int] | tuple[None, None]:
    """(run folder, step) where the path is a run or one of its checkpoints."""
    if path.parent.name == CHECKPOINTS and path.name.isdigit() and path.is_dir():
        return path.parent.parent, int(path.name)
    steps = [int(p.name) for p in checkpoints(path) if (p / "params").is_dir()]
    return (path, max(steps)) if steps else (None, None)


def checkpoints(run: epath.Path) -> list[epath.Path]:
    """Its checkpoints that were written to the end; some item of one may be missing all the same."""
    folder = run / CHECKPOINTS
    found = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return [path for path in found if not is_remote(path) or (path / COMMITTED).exists()]


def newest_step(run: epath.Path) -> int:
    """Steps that the newest whole checkpoint of a run holds; 0 where there is none."""
    whole = [path for path in checkpoints(run) if all((path / item).is_dir() for item in ITEMS)]
    return max((int(path.name) for path in whole), default=0)


def _restore_params(run: epath.Path, step: int, arch: Architecture, mesh: Mesh) -> dict:
    target = ocp.args.StandardRestore(abstract_params(arch, mesh))
    with open_manager(run) as manager:
        return manager.restore(step, args=ocp.args.Composite(params=target))["params"]


def import_hf(source: Path, run: Path) -> None:
    """Makes a folder whose checkpoint 0 holds the weights of a Hugging Face folder, float32, beside its tokenizer."""
    if run.exists() and any(run.iterdir()):
        raise ConfigError(f"{run}: wanted a new or empty folder, this one holds files")
    model = open_model(source, make_mesh(MeshConfig()))
    unfinished = run.with_name(f"{run.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    copy_model(model.folder, epath.Path(unfinished / MODEL))
    save_params(unfinished, 0, model.load())
    unfinished.rename(run)


def save_params(run: Path, step: int, params: dict) -> None:
    """Writes a checkpoint of weights alone, and waits for it."""
    with open_manager(epath.Path(run)) as manager:
        manager.save(step, args=ocp.args.Composite(params=ocp.args.StandardSave(params)))


def export_hf(source: str | Path, target: Path, dtype: str, say: Callable[[str], None] = print) -> None:
    """Writes a model as a Hugging Face folder, tokenizer included. `dtype`: bfloat16 or float32.

    Its stop ids are all that ended a response in training, those of a chat template too."""
    model = open_model(source, make_mesh(MeshConfig()))
    trained = _trained_with(source, say)
    tokenizer = open_tokenizer(model.folder, chat_template(trained.prompt))
    convert.export_params(
        target,
        model.arch,
        model.load(),
        dtype=dtype,
        config_from=model.folder,
        stop_ids=stopping_ids(model, tokenizer),
        finish=tokenizer.save,
    )
    if strings := trained.sample.stop_strings:
        say(f"sample.stop_strings ended responses, too, and no file can say so: generate(stop_strings={list(strings)})")


def stopping_ids(model: Model, tokenizer: Tokenizer) -> list[int]:
    """All tokens that end a response: those that the model's files name, and the tokenizer's and its template's."""
    return sorted({*model.stop_ids, *tokenizer.stop_ids})


def _trained_with(source: str | Path, say: Callable[[str], None]) -> Config:
    """The settings of the run that a model is from; the defaults where it is from none."""
    run, _ = as_checkpoint(open_path(source))
    settings = run and run / RUN_CONFIG
    return load_run(settings, say) if settings and settings.is_file() else Config()


def copy_model(source: Path, target: epath.Path) -> None:
    """Tokenizer and configs, not weights; on a disk there whole or not at all, in a bucket config.json last."""
    with tempfile.TemporaryDirectory(prefix=".model-", dir=None if is_remote(target) else target.parent) as made:
        copy = Path(made) / MODEL
        open_tokenizer(source).save(copy)
        for name in ("config.json", "generation_config.json"):
            if (source / name).is_file():
                shutil.copyfile(source / name, copy / name)
        if is_remote(target):
            copy_files(copy, target, last="config.json")
        else:
            copy.rename(target)


def open_manager(run: epath.Path, keep: int | None = None) -> ocp.CheckpointManager:
    """Orbax's view of a run's checkpoints. `keep`: to write them, the newest so many staying; None: to read them."""
    return ocp.CheckpointManager(
        run / CHECKPOINTS,
        item_names=ITEMS,
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=keep is not None),
    )
