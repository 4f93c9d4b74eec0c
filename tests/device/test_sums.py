"""Weight gradients are summed in float32 in bfloat16 training, on one device and across devices."""

import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import NamedSharding, PartitionSpec

from lte_jax.config import LossConfig, ModelConfig, OptimConfig
from lte_jax.device import mesh as meshes
from lte_jax.device import update, weights
from lte_jax.device.sums import look_up, product
from lte_jax.device.weights import Architecture, Experts
from lte_jax.plan import hlo

# Sizes that 8 devices divide: biases and a head of its own; experts and a tied head.
DENSE = Architecture(
    vocab_size=64, d_model=16, d_ff=24, n_layers=2, n_heads=4, n_kv_heads=2, d_head=6, rope_theta=3e4, rms_eps=1e-3,
    tied=False, qk_norm=False,
)  # fmt: skip
SPARSE = replace(DENSE, tied=True, qk_norm=True, experts=Experts(n=6, n_active=2, normed=True))
N_ROWS, N_COLUMNS = 8, 32


@contextmanager
def compilation_cache_off():
    """A program from the cache was not partitioned here."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def lowered(arch: Architecture, mesh):
    """`accumulate` in bfloat16, with abstract arguments."""
    model = ModelConfig(compute_dtype="bfloat16", attention="xla", logprob_chunk=32)
    spec = update.UpdateSpec(arch, model, LossConfig(), OptimConfig(), 10, mesh)
    whole, params = meshes.replicated(mesh), meshes.abstract_params(arch, mesh)
    scalar = jax.ShapeDtypeStruct((), np.float32, sharding=whole)
    tally = jax.eval_shape(partial(update.zero_sums, spec))[1]
    tally = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tally)
    micro = update.abstract_microbatch(N_ROWS, N_COLUMNS, spec)
    return update.accumulate.lower(params, (params, tally), micro, scalar, scalar, spec)


def reduced(program, folder) -> list[tuple[str, tuple[int, ...], int]]:
    """(type, shape, devices) of every array that is summed across devices: as partitioned, before the CPU's compiler,
    which has no bfloat16, makes all of it float32."""
    options = {"xla_dump_to": str(folder), "xla_dump_hlo_pass_re": "spmd-partition.*"}
    with compilation_cache_off():
        program.compile(compiler_options=options)
    (partitioned,) = folder.glob("*.after_spmd-partitioning.*.txt")
    lines = partitioned.read_text().splitlines()
    return [
        (*array, hlo._group_size(line))
        for line in lines
        if re.search(r" (all-reduce|reduce-scatter)\(", line)
        for array in hlo.arrays_in(line.partition(" = ")[2].partition("(")[0])
        if array[1] and hlo._group_size(line) > 1  # no scalar: those are the tally's
    ]


@pytest.mark.parametrize(("arch", "tensor"), [(DENSE, 2), (SPARSE, 1)], ids=["dense", "sparse"])
def test_every_gradient_is_reduced_across_devices_in_float32(arch, tensor, tmp_path):
    """Activations and their gradients are reduced too, in bfloat16, over a tensor axis alone: two devices here."""
    shards = 8 // tensor
    found = reduced(lowered(arch, tiny.mesh(1, shards, tensor)), tmp_path)
    gradients = [(dtype, dims) for dtype, dims, devices in found if devices == shards]
    # each layer's weights in the loop over layers; the embedding for its look-up, and for a tied head
    assert len(gradients) == len(weights.table(arch)) + arch.tied
    assert {dtype for dtype, _ in gradients} == {"f32"}, found
    assert {devices for dtype, _, devices in found if dtype == "bf16"} == ({tensor} if tensor > 1 else set())


def two_devices():
    mesh = tiny.mesh(2)
    return NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())


def test_a_products_gradient_is_the_exact_one_within_float32s_bound():
    rows, whole = two_devices()
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.standard_normal((512, n)), jnp.bfloat16) for n in (12, 20))
    weight = jnp.asarray(rng.standard_normal((12, 20)), jnp.float32)

    def value(weight, x, g):
        return (product(x, weight).astype(jnp.float32) * g.astype(jnp.float32)).sum()

    found = jax.jit(jax.grad(value), in_shardings=(whole, rows, rows), out_shardings=whole)(weight, x, g)
    x, g = np.float64(x), np.float64(g)
    # a sum of n float32 products, in any order, is off by n eps of the sum of their sizes at most
    bound = len(x) * np.finfo(np.float32).eps * (np.abs(x).T @ np.abs(g))
    assert (np.abs(np.float64(found) - x.T @ g) <= bound).all()


def test_a_token_that_comes_often_has_its_whole_gradient():
    """In bfloat16 a sum of ones stops at 256."""
    rows, whole = two_devices()
    tokens, table = jnp.zeros((8, 512), jnp.int32).at[:, ::8].set(3), jnp.ones((5, 4), jnp.float32)

    def value(table, tokens):
        return look_up(table, tokens, jnp.bfloat16, lambda table: table).astype(jnp.float32).sum()

    found = jax.jit(jax.grad(value), in_shardings=(whole, rows), out_shardings=whole)(table, tokens)
    np.testing.assert_array_equal(found[:, 0], [3584, 0, 0, 512, 0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_the_other_gradient_are_those_of_the_plain_operations(dtype):
    rng = np.random.default_rng(1)
    x, weight = jnp.asarray(rng.standard_normal((6, 4)), dtype), jnp.asarray(rng.standard_normal((4, 5)), jnp.float32)
    plain, back = jax.vjp(lambda x: x @ weight.astype(dtype), x)
    ours, our_back = jax.vjp(lambda x: product(x, weight), x)
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(our_back(plain)[0], back(plain)[0])
    tokens = jnp.array([[2, 0], [3, 3]])
    np.testing.assert_array_equal(look_up(weight, tokens, dtype, lambda t: t), weight.astype(dtype)[tokens])


def test_in_float32_nothing_is_added():
    x, weight, tokens = jnp.ones((6, 4)), jnp.ones((4, 5)), jnp.ones((2, 3), jnp.int32)
    assert str(jax.make_jaxpr(product)(x, weight)) == str(jax.make_jaxpr(jnp.matmul)(x, weight))
    ours = jax.make_jaxpr(lambda table: look_up(table, tokens, jnp.float32, lambda t: t))(weight)
    assert str(ours) == str(jax.make_jaxpr(lambda table: table[tokens])(weight))
