"""Hugging Face folder <-> parameter tree, both ways and bit for bit. Dense Qwen3 only; the rest is refused by name.

Import checks every tensor before it touches a device, then reads only the slices that the mesh asks for. Export writes
into a sibling folder and renames it: a folder of the wanted name is always complete.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import jax
import ml_dtypes
import numpy as np
from jax.sharding import Mesh, NamedSharding
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lte_jax.device import weights
from lte_jax.device.mesh import check_divides, param_shardings
from lte_jax.device.weights import Architecture, Weight
from lte_jax.hf_config import CONFIG, ConvertError, config_files, read_json, write_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
READABLE = ("BF16", "F16", "F32")  # as safetensors names them; each widens to float32 without loss


class Stored(NamedTuple):
    """One tensor of a safetensors file; nothing is read until `slice_` is indexed."""

    file: Path
    slice_: Any


class Tensor(NamedTuple):
    """One Hugging Face tensor and its place in the tree. `layer` is None where the weight is not stacked."""

    name: str
    path: tuple[str, ...]
    row: Weight
    layer: int | None


def import_params(folder: str | Path, arch: Architecture, mesh: Mesh) -> dict:
    """The float32 parameter tree of a folder's safetensors, one shard or many, laid out for the mesh.

    Raises ConvertError where a file or tensor is missing, broken, unexpected or of another shape, and ValueError where
    the mesh does not divide the model; both before any device memory is used.
    """
    check_divides(arch, mesh)
    stored = _open_tensors(Path(folder))
    _check_tensors(stored, arch, Path(folder))
    shardings = param_shardings(arch, mesh)
    return weights.tree(arch, lambda path, row: _import_weight(row, arch, stored, weights.leaf(shardings, path)))


def export_params(
    folder: str | Path,
    arch: Architecture,
    params: dict,
    *,
    stop_ids: Sequence[int],
    dtype: str = "bfloat16",
    config_from: str | Path | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a folder that transformers loads; the host holds at most one shard and one weight of a layer.

    `config_from`: a folder whose config.json and generation_config.json are kept, its stop ids included, with only the
    dtype adapted. Raises ConvertError where `folder` holds anything, or where params or that config do not fit `arch`.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConvertError(f"{folder}: already there and not an empty folder; exports never overwrite")
    if dtype not in DTYPES:
        raise ConvertError(f"dtype = {dtype!r}: wanted one of {', '.join(DTYPES)}")
    shapes, wanted = jax.tree.map(np.shape, params), weights.tree(arch, lambda _, row: row.shape(arch))
    if shapes != wanted:
        raise ConvertError(f"the parameter tree is not one of {arch}: wanted shapes {wanted}, got {shapes}")
    documents = config_files(arch, stop_ids, dtype, config_from)
    unfinished = folder.with_name(f"{folder.name}.tmp-{uuid4().hex[:8]}")
    unfinished.mkdir(parents=True)
    try:
        _write_shards(unfinished, arch, params, np.dtype(DTYPES[dtype]), max_shard_bytes)
        for name, values in documents.items():
            write_json(unfinished / name, values)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished)
        raise


def _hf_tensors(arch: Architecture) -> Iterator[Tensor]:
    """Every tensor that the architecture has on disk, in the order of the table."""
    for path, row in weights.table(arch).items():
        for layer in range(arch.n_layers) if row.axes.startswith("L") else (None,):
            yield Tensor(row.hf_name.format(layer), path, row, layer)


def _hf_index(row: Weight, arch: Architecture, ranges: dict[str, range]) -> tuple[slice, ...]:
    """Where these ranges of our axes lie in the Hugging Face tensor, which stores heads times head size as one axis."""
    index: list[slice] = []
    for letter in row.hf_axes:
        part = ranges[letter]
        if letter == "H" and index:  # no mesh splits a head: all of it, for each head
            index[-1] = slice(index[-1].start * arch.d_head, index[-1].stop * arch.d_head)
        else:
            index.append(slice(part.start, part.stop))
    return tuple(index)


def _hf_shape(row: Weight, arch: Architecture) -> tuple[int, ...]:
    whole = {letter: range(arch.size(letter)) for letter in row.hf_axes}
    return tuple(part.stop for part in _hf_index(row, arch, whole))


def _open_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder by name. Like transformers, prefers the single file where both forms are there."""
    listed: dict[str, str] = {}
    if not (folder / SINGLE).exists() and (folder / INDEX).exists():
        listed = read_json(folder / INDEX).get("weight_map") or {}
        if not listed:
            raise ConvertError(f"{folder / INDEX}: weight_map is missing or empty")
    stored = {}
    for name in sorted(set(listed.values())) or [SINGLE]:
        file = folder / name
        try:
            handle = safe_open(file, framework="np")
        except FileNotFoundError:
            wanted_by = f"{INDEX} refers to it" if listed else f"wanted it, or {INDEX} and its shards"
            raise ConvertError(f"{file}: no such file; {wanted_by}") from None
        except (SafetensorError, OSError) as error:
            raise ConvertError(f"{file}: not a whole safetensors file: {error}") from None
        stored |= {tensor: Stored(file, handle.get_slice(tensor)) for tensor in handle.keys()}
    if lost := listed.keys() - stored.keys():
        raise ConvertError(f"{folder / INDEX}: lists tensors that no shard holds: {_first(lost)}")
    return stored


def _check_tensors(stored: dict[str, Stored], arch: Architecture, folder: Path) -> None:
    """Raises ConvertError unless the folder holds exactly the weights of the architecture."""
    tensors = list(_hf_tensors(arch))
    if missing := {tensor.name for tensor in tensors} - stored.keys():
        raise ConvertError(f"{folder}: tensors are missing: {_first(missing)}")
    for tensor in tensors:
        file, slice_ = stored[tensor.name]
        wanted, found = _hf_shape(tensor.row, arch), tuple(slice_.get_shape())
        if found != wanted:
            raise ConvertError(f"{file}: {tensor.name} has shape {found}, wanted {wanted} by {CONFIG}")
        if slice_.get_dtype() not in READABLE:
            raise ConvertError(f"{file}: {tensor.name} is {slice_.get_dtype()}, wanted one of {', '.join(READABLE)}")
    head, embed = weights.TABLE["head",].hf_name, weights.TABLE["embed",].hf_name
    extra = {name for name in stored.keys() - {t.name for t in tensors} if not name.endswith("rotary_emb.inv_freq")}
    if extra - {head if arch.tied else None}:
        raise ConvertError(f"{folder}: tensors that dense Qwen3 does not have: {_first(extra)}")
    if head in extra and not _equal(stored[head].slice_, stored[embed].slice_):
        raise ConvertError(f"{folder}: {CONFIG} ties {head} to {embed}, but they differ: set tie_word_embeddings false")


def _equal(a, b, n_rows: int = 4096) -> bool:
    """Compares stored matrices some rows at a time."""
    if a.get_shape() != b.get_shape():
        return False
    last = a.get_shape()[0]
    parts = (slice(start, min(start + n_rows, last)) for start in range(0, last, n_rows))
    return all(np.array_equal(a[part], b[part]) for part in parts)


def _first(names, n: int = 3) -> str:
    shown = ", ".join(sorted(names)[:n])
    return shown if len(names) <= n else f"{shown} and {len(names) - n} more"


def _import_weight(row: Weight, arch: Architecture, stored: dict[str, Stored], sharding: NamedSharding) -> jax.Array:
    blocks: dict[tuple[range, ...], np.ndarray] = {}  # devices that hold the same part share one read

    def block(index: tuple[slice, ...]) -> np.ndarray:
        ranges = tuple(range(arch.size(letter))[part] for letter, part in zip(row.axes, index, strict=True))
        if ranges not in blocks:
            blocks[ranges] = _read_block(row, arch, stored, dict(zip(row.axes, ranges, strict=True)))
        return blocks[ranges]

    return jax.make_array_from_callback(row.shape(arch), sharding, block)


def _read_block(row: Weight, arch: Architecture, stored: dict[str, Stored], ranges: dict[str, range]) -> np.ndarray:
    """Part of a weight in our axes, float32; `ranges` has one entry for each of its letters."""
    out = np.empty([len(part) for part in ranges.values()], np.float32)
    order = [row.hf_axes.index(letter) for letter in row.axes.removeprefix("L")]
    for position, layer in enumerate(ranges.get("L", (None,))):
        part = stored[row.hf_name.format(layer)].slice_[_hf_index(row, arch, ranges)]
        part = part.reshape([len(ranges[letter]) for letter in row.hf_axes]).transpose(order)
        target = out if layer is None else out[position]
        target[...] = part
    return out


def _write_shards(folder: Path, arch: Architecture, params: dict, dtype: np.dtype, max_bytes: int) -> None:
    """Safetensors files of at most `max_bytes` (one tensor may be more), with an index where there are several."""
    shards: list[list[Tensor]] = [[]]
    total = used = 0
    for tensor in _hf_tensors(arch):
        size = math.prod(_hf_shape(tensor.row, arch)) * dtype.itemsize
        if used + size > max_bytes and shards[-1]:
            shards.append([])
            used = 0
        shards[-1].append(tensor)
        total, used = total + size, used + size
    files = [SINGLE]
    if len(shards) > 1:
        files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
        weight_map = {t.name: file for file, shard in zip(files, shards, strict=True) for t in shard}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    for file, shard in zip(files, shards, strict=True):
        arrays = {tensor.name: _export_tensor(tensor, arch, params, dtype) for tensor in shard}
        save_file(arrays, folder / file, metadata={"format": "pt"})


def _export_tensor(tensor: Tensor, arch: Architecture, params: dict, dtype: np.dtype) -> np.ndarray:
    row, weight = tensor.row, weights.leaf(params, tensor.path)
    array = np.asarray(weight if tensor.layer is None else weight[tensor.layer])
    axes = row.axes.removeprefix("L")
    array = array.transpose([axes.index(letter) for letter in row.hf_axes]).reshape(_hf_shape(row, arch))
    return np.ascontiguousarray(array, dtype)  # safetensors writes the buffer as it lies
