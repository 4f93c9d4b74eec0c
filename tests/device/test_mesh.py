"""The mesh: sizes must multiply to the devices, and what a mesh does not divide is named."""

import pytest
import tiny
from jax.sharding import PartitionSpec

from lte_jax.config import MeshConfig
from lte_jax.device.mesh import check_divides, make_mesh, n_batch_shards, param_shardings, sampler_shardings


def test_fsdp_takes_what_is_left():
    mesh = make_mesh(MeshConfig(data=2, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert n_batch_shards(mesh) == 4


@pytest.mark.parametrize("sizes", [{"data": 3}, {"fsdp": 3}, {"fsdp": 4, "tensor": 4}, {"tensor": 16}])
def test_sizes_that_do_not_multiply_to_the_devices_are_refused(sizes):
    with pytest.raises(ValueError, match="does not fit 8 devices: the sizes must multiply to 8"):
        make_mesh(MeshConfig(**sizes))
    with pytest.raises(ValueError, match="mesh.fsdp = 0"):
        make_mesh(MeshConfig(fsdp=0))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 1, 4), "mesh.tensor = 4 does not divide vocab_size = 50"),
        ((1, 8, 1), "mesh.fsdp = 8 does not divide d_model = 12"),
    ],
)
def test_what_the_mesh_does_not_divide_is_named(shape, said):
    with pytest.raises(ValueError, match=said):
        check_divides(tiny.ARCH, tiny.mesh(*shape))


def test_every_weight_is_split_and_the_samplers_copy_is_not_split_over_fsdp():
    mesh = tiny.mesh(1, 2, 2)
    masters, copy = param_shardings(tiny.ARCH, mesh), sampler_shardings(tiny.ARCH, mesh)
    assert masters["layers"]["q"].spec == PartitionSpec(None, "fsdp", "tensor", None)
    assert masters["embed"].spec == PartitionSpec("tensor", "fsdp")
    assert copy["layers"][2]["q"].spec == PartitionSpec(None, "tensor", None)
    assert copy["layers"][0]["down"].spec == PartitionSpec("tensor", None)
