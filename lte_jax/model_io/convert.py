"""Hugging Face folder <-> parameter tree, both ways and bit for bit, one tensor at a time.

Import checks every tensor before it touches a device, then reads only the slices that the mesh asks for. Export writes
into a sibling folder and renames it: a folder of the wanted name is always complete.
"""

import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from safetensors import SafetensorError, safe_open

from lte_jax.device import weights
from lte_jax.device.mesh import check_divides, param_shardings
from lte_jax.device.weights import Architecture, Weight
from lte_jax.model_io.hf_config import CONFIG, ConvertError, config_files, read_json, refuse_pointer, write_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
OTHER_WEIGHTS = ("pytorch_model*.bin", "adapter_model*", "*.gguf", "consolidated*")
READABLE = ("BF16", "F16", "F32")  # as safetensors names them; each widens to float32 without loss
WRITTEN = {"bfloat16": ("BF16", 2), "float32": ("F32", 4)}  # its name there and bytes per number


class Stored(NamedTuple):
    """One tensor of a safetensors file; nothing is read until `slice_` is indexed."""

    file: Path
    slice_: Any


class Tensor(NamedTuple):
    """One Hugging Face tensor and its place in the tree. `index`: layer, or layer and expert, where stacked."""

    name: str
    path: tuple[str, ...]
    row: Weight
    index: tuple[int, ...]


def import_params(folder: str | Path, arch: Architecture, mesh: Mesh) -> dict:
    """The float32 parameter tree of a folder's safetensors, one shard or many, laid out for the mesh.

    Raises ConvertError where a file or tensor is missing, broken, unexpected or of another shape, and ValueError where
    the mesh does not divide the model; both before any device memory is used.
    """
    check_divides(arch, mesh)
    stored = open_weights(folder, arch)
    shardings = param_shardings(arch, mesh)
    return weights.tree(arch, lambda path, row: _import_weight(row, arch, stored, weights.leaf(shardings, path)))


def open_weights(folder: str | Path, arch: Architecture) -> dict[str, Stored]:
    """The folder's tensors by name, their headers checked: needs no device and reads no weights, but for a redundant
    head. Raises ConvertError where a file or tensor is missing, broken, unexpected or of another shape."""
    stored = _open_tensors(Path(folder))
    _check_tensors(stored, arch, Path(folder))
    return stored


def export_params(
    folder: str | Path,
    arch: Architecture,
    params: dict,
    *,
    stop_ids: Sequence[int],
    dtype: str = "bfloat16",
    config_from: str | Path | None = None,
    max_shard_bytes: int = 5_000_000_000,
    finish: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Writes a folder that transformers loads; the host holds one tensor at a time.

    `config_from`: a folder whose config.json and generation_config.json are kept, with only the dtype adapted and the
    stop ids added that they lack. `finish` adds what else belongs in the folder, such as a tokenizer, before it takes
    its name. Raises ConvertError where `folder` holds anything, or where params or that config do not fit `arch`.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConvertError(f"{folder}: already there and not an empty folder; exports never overwrite")
    if dtype not in WRITTEN:
        raise ConvertError(f"dtype = {dtype!r}: wanted one of {', '.join(WRITTEN)}")
    shapes, wanted = jax.tree.map(np.shape, params), weights.tree(arch, lambda _, row: row.shape(arch))
    if shapes != wanted:
        raise ConvertError(f"the parameter tree is not one of {arch}: wanted shapes {wanted}, got {shapes}")
    documents = config_files(arch, stop_ids, dtype, config_from)
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
    unfinished.mkdir(parents=True)
    try:
        _write_shards(unfinished, arch, params, dtype, max_shard_bytes)
        finish(unfinished)
        for name, values in documents.items():
            write_json(unfinished / name, values)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished)
        raise


def _hf_tensors(arch: Architecture) -> Iterator[Tensor]:
    """Every tensor that the architecture has on disk, in the order of the table."""
    for path, row in weights.table(arch).items():
        for index in itertools.product(*(range(arch.size(letter)) for letter in row.stacked)):
            yield Tensor(row.hf_name.format(*index), path, row, index)


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
    names = sorted(set(listed.values())) or [SINGLE]
    _refuse_missing(folder, names, INDEX if listed else "")
    stored = {}
    for name in names:
        file = folder / name
        try:
            handle = safe_open(file, framework="np")
        except (SafetensorError, OSError) as error:
            refuse_pointer(file)
            raise ConvertError(f"{file}: not a whole safetensors file: {error}") from None
        stored |= {tensor: Stored(file, handle.get_slice(tensor)) for tensor in handle.keys()}
    if lost := listed.keys() - stored.keys():
        raise ConvertError(f"{folder / INDEX}: lists tensors that no shard holds: {_first(lost)}")
    return stored


def _refuse_missing(folder: Path, names: Sequence[str], index: str) -> None:
    """Raises ConvertError unless all the weight files are there."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and index:
        raise ConvertError(
            f"{folder / missing[0]}: no such file; {index} refers to it. {len(missing)} of {len(names)} files are "
            f"missing ({_first(missing)}): fetch them into this folder"
        )
    if missing:
        others = sorted(path.name for pattern in OTHER_WEIGHTS for path in folder.glob(pattern))
        only = "only safetensors can be read: save the model with transformers"
        instead = f"; of {_first(others)} {only}" if others else ""
        raise ConvertError(f"{folder / names[0]}: no such file; wanted it, or {INDEX} and its shards{instead}")


def _check_tensors(stored: dict[str, Stored], arch: Architecture, folder: Path) -> None:
    """Raises ConvertError unless the folder holds exactly the weights of the architecture."""
    tensors = list(_hf_tensors(arch))
    if missing := {tensor.name for tensor in tensors} - stored.keys():
        raise ConvertError(f"{folder}: tensors are missing: {_first(missing)}{_other_prefix(stored, missing)}")
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
        raise ConvertError(f"{folder}: tensors that this model does not have by {CONFIG}: {_first(extra)}")
    if head in extra and not _equal(stored[head].slice_, stored[embed].slice_):
        raise ConvertError(f"{folder}: {CONFIG} ties {head} to {embed}, but they differ: set tie_word_embeddings false")


def _other_prefix(stored: Iterable[str], missing: set[str]) -> str:
    """What to do where the missing tensors are there under longer or shorter names."""
    wanted = min(missing)
    for name in sorted(stored):
        if name.endswith(f".{wanted}"):
            return f"; {name} is there: save the model without the prefix {name.removesuffix(wanted)!r}"
        if wanted.endswith(f".{name}"):
            return f"; {name} is there: save the whole model for causal language modelling, not its inner part"
    return ""


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
    """Reads and places one shard after another; devices that hold the same one share the read."""
    shape = row.shape(arch)
    holders: dict[tuple[range, ...], list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        ranges = tuple(range(size)[part] for size, part in zip(shape, index, strict=True))
        holders.setdefault(ranges, []).append(device)
    placed = []
    for ranges, devices in holders.items():
        block = _read_block(row, arch, stored, dict(zip(row.axes, ranges, strict=True)))
        placed += jax.block_until_ready([jax.device_put(block, device) for device in devices])
    return jax.make_array_from_single_device_arrays(shape, sharding, placed)


def _read_block(row: Weight, arch: Architecture, stored: dict[str, Stored], ranges: dict[str, range]) -> np.ndarray:
    """Part of a weight in our axes, float32; `ranges` has one entry for each of its letters."""
    out = np.empty([len(part) for part in ranges.values()], np.float32)
    order = [row.hf_axes.index(letter) for letter in row.axes.removeprefix(row.stacked)]
    stacked = [ranges[letter] for letter in row.stacked]
    targets = out.reshape(-1, *out.shape[len(stacked) :])
    for target, index in zip(targets, itertools.product(*stacked), strict=True):
        part = stored[row.hf_name.format(*index)].slice_[_hf_index(row, arch, ranges)]
        target[...] = part.reshape([len(ranges[letter]) for letter in row.hf_axes]).transpose(order)
    return out


def _write_shards(folder: Path, arch: Architecture, params: dict, dtype: str, max_bytes: int) -> None:
    """Safetensors files of at most `max_bytes` (one tensor may be more), with an index where there are several."""
    shards: list[list[Tensor]] = [[]]
    total = used = 0
    for tensor in _hf_tensors(arch):
        size = _n_bytes(tensor, arch, dtype)
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
        _write_file(folder / file, shard, arch, params, dtype)


def _write_file(path: Path, tensors: Sequence[Tensor], arch: Architecture, params: dict, dtype: str) -> None:
    """A safetensors file (length of the header, header, data), tensor by tensor: the library's own writer holds a whole
    file twice."""
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}  # older transformers refuse a file without
    end = 0
    for tensor in tensors:
        start, end = end, end + _n_bytes(tensor, arch, dtype)
        header[tensor.name] = {
            "dtype": WRITTEN[dtype][0],
            "shape": _hf_shape(tensor.row, arch),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # the data is aligned
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors:
            file.write(_export_tensor(tensor, params, dtype).data)


def _n_bytes(tensor: Tensor, arch: Architecture, dtype: str) -> int:
    return math.prod(_hf_shape(tensor.row, arch)) * WRITTEN[dtype][1]


def _export_tensor(tensor: Tensor, params: dict, dtype: str) -> np.ndarray:
    """The tensor's bytes, in the order in which they are stored."""
    array = _stored_form(weights.leaf(params, tensor.path), tensor.index, tensor.row, dtype)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@partial(jax.jit, static_argnames=("row", "dtype"))
def _stored_form(weight, index: tuple[int, ...], row: Weight, dtype: str) -> jax.Array:
    """Sliced, transposed and cast where the weight lies, so that the host receives what it writes and no more."""
    axes = row.axes.removeprefix(row.stacked)
    return weight[index].transpose([axes.index(letter) for letter in row.hf_axes]).astype(dtype)
