"""The batch of an update that was not finite: written with the weights it met, and looked at again on any machine.

A skipped update changes no weight, so what is written is all that the update saw.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from lte_jax.config import Config, ConfigError
from lte_jax.device.arrays import OFF_POLICY, ON_POLICY, Microbatch
from lte_jax.device.mesh import abstract_params, batch_sharding, make_mesh
from lte_jax.device.policy import policy_logp
from lte_jax.device.update import UpdateSpec, accumulate, zero_sums
from lte_jax.engine.boundary import fetch, fetch_rows
from lte_jax.model_io.checkpoint import MODEL
from lte_jax.model_io.hf_config import read_config
from lte_jax.run.processes import is_first
from lte_jax.storage.paths import on_disk, open_path, write_whole

BATCH, PARAMS, FOLDER = "batch.npz", "params", "nonfinite"
SCALARS = "scalars"  # of the regularisers, in the batch


@dataclass(frozen=True)
class Finding:
    """What one micro-batch does by itself. Rows and weights are named where a number in them is not finite."""

    shape: tuple[int, int]  # rows x columns
    gradient_norm: float
    inputs: dict[str, list[int]]  # field of the micro-batch -> rows
    logp: list[int]  # rows
    gradients: list[str]  # weights


def write_batch(
    run: epath.Path, step: int, params: dict, batch: list[Microbatch], temperature, entropy_weight, scalars
) -> str:
    """Writes micro-batches and weights; returns the folder. All processes call it together."""
    folder = run / FOLDER / f"{step:06d}"
    arrays = _flat({str(i): fetch_rows(micro) for i, micro in enumerate(batch)} | {SCALARS: scalars or {}})
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, temperature=temperature, entropy_weight=entropy_weight, **arrays)
        write_whole(folder / BATCH, content.getvalue())
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder / PARAMS, params, force=True)
    return str(folder)


def replay(spelled: str | Path, config: Config) -> list[Finding]:
    """Every micro-batch by itself, on the config's mesh. Raises ConfigError where the folder holds no batch."""
    folder = open_path(spelled)
    if not (folder / BATCH).is_file():
        raise ConfigError(f"{folder}: wanted a folder that a run wrote, RUN/{FOLDER}/STEP, with {BATCH} in it")
    arrays = np.load(io.BytesIO((folder / BATCH).read_bytes()))
    mesh = make_mesh(config.mesh)
    arch = read_config(on_disk(run_of(folder) / MODEL)).arch
    n_updates = config.steps * config.problems_per_step // config.optim.problems_per_update
    spec = UpdateSpec(arch, config.model, config.loss, config.optim, n_updates, mesh)
    with ocp.StandardCheckpointer() as reader:
        params = reader.restore(folder / PARAMS, abstract_params(arch, mesh))
    n = len({name.split("/")[0] for name in arrays.files if "/" in name} - {SCALARS})
    return [_look(params, _fields(arrays, i), arrays, spec) for i in range(n)]


def _flat(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of nested dicts by the path to each."""
    found: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _nested(arrays, prefix: str) -> dict:
    """The nested dicts whose arrays lie below a path."""
    found: dict = {}
    for path in arrays.files:
        if path.startswith(prefix):
            *parents, name = path.removeprefix(prefix).split("/")
            place = found
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = arrays[path]
    return found


def _fields(arrays, i: int) -> dict[str, np.ndarray | dict]:
    """One micro-batch by field. Before kinds were per token, a row had one kind, one advantage and one weight."""
    found = {"targets": {}, **_nested(arrays, f"{i}/")}
    if "loss_mask_BT" in found:
        mask_BT, off_B = found.pop("loss_mask_BT"), found.pop("off_policy_B")
        found["kind_BT"] = np.where(mask_BT, np.where(off_B[:, None], OFF_POLICY, ON_POLICY), 0).astype(np.int8)
        for before, now in (("advantage_B", "advantage_BT"), ("token_weight_B", "weight_BT")):
            found[now] = np.where(mask_BT, found.pop(before)[:, None], 0)
    return {name: found[name] for name in Microbatch._fields}


def run_of(folder: epath.Path) -> epath.Path:
    """The run that wrote it."""
    return folder.parent.parent


def _look(params: dict, rows: dict[str, np.ndarray | dict], batch, spec: UpdateSpec) -> Finding:
    micro = jax.device_put(Microbatch(**rows), batch_sharding(spec.mesh))
    temperature, entropy_weight = (np.float32(batch[name]) for name in ("temperature", "entropy_weight"))
    logp_BT, _ = jax.jit(policy_logp, static_argnames="spec")(params, micro.tokens_BT, temperature, spec)
    scalars = _nested(batch, f"{SCALARS}/") or None
    gradients, _ = accumulate(params, zero_sums(spec), micro, temperature, entropy_weight, spec, scalars)
    squares = jax.tree.map(lambda g: jnp.square(g).sum(), gradients)
    bad = jax.tree_util.tree_flatten_with_path(jax.tree.map(lambda s: ~np.isfinite(s), fetch(squares)))[0]
    return Finding(
        shape=rows["tokens_BT"].shape,
        gradient_norm=float(np.sqrt(sum(jax.tree.leaves(fetch(squares))))),
        inputs={name: found for name, value in _flat(rows).items() if (found := _bad_rows(value))},
        logp=_bad_rows(np.where(rows["kind_BT"], fetch(logp_BT), 0.0)),
        gradients=[jax.tree_util.keystr(path, simple=True, separator="/") for path, is_bad in bad if is_bad],
    )


def _bad_rows(values: np.ndarray) -> list[int]:
    finite_B = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return np.flatnonzero(~finite_B).tolist()
