"""The device mesh, and one rule per axis letter from which every sharding follows."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lte_jax.config import MeshConfig
from lte_jax.device import weights
from lte_jax.device.weights import Architecture

BATCH_AXES = ("data", "fsdp")
MESH_AXIS = dict(V="tensor", D="fsdp", F="tensor", N="tensor", K="tensor", H=None, L=None, E="tensor", X=None)


def open_devices() -> list:
    """Every device of every process. Raises RuntimeError, in one line, where jax cannot open them."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # jax asserts where no plugin is there at all
        asked = f"JAX_PLATFORMS = {jax.config.jax_platforms}" if jax.config.jax_platforms else "jax"
        said = f": {error}" if str(error) else ""
        raise RuntimeError(
            f"{asked}: the devices cannot be opened; is jax's build for them installed?{said}"
        ) from error


def make_mesh(config: MeshConfig, devices: Sequence | None = None) -> Mesh:
    """A mesh with axes data, fsdp, tensor over all devices, or over those given. Raises ValueError where the sizes do
    not multiply up."""
    devices = np.array(open_devices() if devices is None else devices)
    fixed = config.data * config.tensor
    if config.fsdp == 0:
        raise ValueError("mesh.fsdp = 0: wanted a positive size, or -1 for all devices that are left")
    fsdp = devices.size // fixed if config.fsdp == -1 else config.fsdp
    if fixed * fsdp != devices.size or fsdp == 0:
        raise ValueError(
            f"mesh data={config.data}, fsdp={config.fsdp}, tensor={config.tensor} does not fit {devices.size} devices: "
            f"the sizes must multiply to {devices.size}"
        )
    shape = (config.data, fsdp, config.tensor)
    return Mesh(devices.reshape(shape), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def own_mesh(mesh: Mesh) -> Mesh:
    """The part of the mesh that lies on this process's devices, on which it samples alone; the mesh itself where there
    is one process. Raises ValueError where the tensor axis spans processes.
    """
    if jax.process_count() == 1:
        return mesh
    rows = mesh.devices.reshape(-1, mesh.shape["tensor"])
    owners = [{device.process_index for device in row} for row in rows]
    if any(len(owner) > 1 for owner in owners):
        raise ValueError(
            f"mesh.tensor = {mesh.shape['tensor']} spans processes, each of which samples on its own "
            f"{jax.local_device_count()} devices: wanted a mesh.tensor that divides them"
        )
    own = np.array([row for row, owner in zip(rows, owners, strict=True) if owner == {jax.process_index()}])
    return Mesh(own[:, None], mesh.axis_names, axis_types=mesh.axis_types)


def own_view(arrays: dict, shardings: dict) -> dict:
    """Arrays that lie whole on this process's devices as arrays of its own mesh: the same buffers, no copy."""

    def view(array, sharding):
        own = [shard.data for shard in array.addressable_shards]
        return jax.make_array_from_single_device_arrays(array.shape, sharding, own)

    return jax.tree.map(view, arrays, shardings)


def n_batch_shards(mesh: Mesh) -> int:
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_divides(arch: Architecture, mesh: Mesh) -> None:
    """Raises ValueError that names the axis which the mesh does not divide."""
    names = dict(V="vocab_size", D="d_model", F="d_ff", N="n_heads", K="n_kv_heads", E="experts.n")
    held = {letter for row in weights.table(arch).values() for letter in row.axes}
    for letter, name in names.items():
        axis = MESH_AXIS[letter]
        if letter in held and arch.size(letter) % mesh.shape[axis]:
            raise ValueError(
                f"mesh.{axis} = {mesh.shape[axis]} does not divide {name} = {arch.size(letter)}; "
                f"choose a mesh.{axis} that divides it"
            )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp; further axes whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def param_shardings(arch: Architecture, mesh: Mesh) -> dict:
    """Of the float32 masters, in the form of the stacked parameter tree."""
    return weights.tree(arch, lambda path, row: _sharding(row.axes, mesh, MESH_AXIS))


def abstract_params(arch: Architecture, mesh: Mesh) -> dict:
    """Shapes, types and shardings of the float32 masters: what is restored into, or compiled for, without weights."""
    shardings = param_shardings(arch, mesh)
    return weights.tree(
        arch,
        lambda path, row: jax.ShapeDtypeStruct(row.shape(arch), np.float32, sharding=weights.leaf(shardings, path)),
    )


def sampler_shardings(arch: Architecture, mesh: Mesh) -> dict:
    """Of the sampler's unstacked copy: without fsdp, which would cost an all-gather per layer and token."""
    local = {**MESH_AXIS, "D": None}
    whole = weights.tree(arch, lambda path, row: _sharding(row.axes.removeprefix("L"), mesh, local))
    return {**whole, "layers": {i: whole["layers"] for i in range(arch.n_layers)}}


def lookup_sharding(mesh: Mesh) -> NamedSharding:
    """[V, D] of the embedding while tokens are looked up, and of the head while logits are made: with D over fsdp,
    where rows lie too, the partitioner would copy every activation whole."""
    return NamedSharding(mesh, PartitionSpec(MESH_AXIS["V"]))


def head_sum_sharding(mesh: Mesh) -> NamedSharding:
    """[S, V, D]: what each batch shard has summed for itself of the head's gradient."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES, MESH_AXIS["V"]))


def cache_sharding(mesh: Mesh) -> NamedSharding:
    """[B, K, S, H]: rows over data and fsdp, heads over tensor."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES, "tensor"))


def _sharding(axes: str, mesh: Mesh, rule: dict) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*(rule[letter] for letter in axes)))
