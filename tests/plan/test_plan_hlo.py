"""Transfers, copies and shapes read from small HLO programs written by hand; operations counted in a trace."""

import jax
import jax.numpy as jnp
import pytest

from lte_jax.plan import hlo
from lte_jax.plan.flops import matrix_flops

LOOP = """
HloModule planted

%body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %gathered = bf16[64,16]{1,0} all-gather(%x), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}
  %reduced = f32[8,16]{1,0} all-reduce(%y), channel_id=2, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[8,16]{1,0}) tuple(%i, %reduced)
}

%condition (p: (s32[], f32[8,16])) -> pred[] {
  %limit = s32[] constant(36)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%branch (p: f32[4]) -> f32[4] {
  ROOT %seldom = f32[4]{0} all-reduce(%p), channel_id=9, replica_groups=[1,8]<=[8], to_apply=%add
}

ENTRY %main (a: f32[8,16]) -> f32[8,16] {
  %copy.1 = bf16[2,16,4]{2,1,0} copy(%cache)
  %transpose.1 = bf16[16,2,4]{2,1,0} transpose(%cache), dimensions={1,0,2}
  %scattered = f32[2,16]{1,0} reduce-scatter(%z), channel_id=3, replica_groups=[2,4]<=[8], dimensions={0}
  %alone = f32[8,16]{1,0} all-reduce(%z), channel_id=4, replica_groups={{0},{1}}, to_apply=%add
  %moved = f32[8]{0} collective-permute(%z), channel_id=5, source_target_pairs={{0,1}}
  %c = f32[4]{0} conditional(%i, %p, %p), branch_computations={%branch, %branch}
  ROOT %w = (s32[], f32[8,16]{1,0}) while(%t0), condition=%condition, body=%body
}
"""


def test_transfers_count_as_often_as_their_loop_turns_and_as_many_bytes_as_a_device_receives():
    found = {one.kind: (one.n_bytes, one.times, one.group) for one in hlo.collectives(LOOP)}
    assert found == {
        "all-gather": (64 * 16 * 2 * 7 // 8, 36, 8),
        "all-reduce": (8 * 16 * 4, 36, 2),  # twice, of half of it
        "reduce-scatter": (2 * 16 * 4 * 3, 1, 4),
        "collective-permute": (8 * 4, 1, 2),
    }


def test_a_permute_that_is_begun_apart_moves_its_array_and_not_its_counters():
    begun = "(f32[8]{0}, f32[8]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%z)"
    (moved,) = [
        one
        for one in hlo.collectives(LOOP.replace("f32[8]{0} collective-permute(%z)", begun))
        if one.kind == "collective-permute"
    ]
    assert moved.n_bytes == 8 * 4


@pytest.mark.parametrize("known", ['"known_trip_count":{"n":"7"}', "known_trip_count={n=7}"])
def test_the_compilers_own_count_of_turns_comes_first(known):
    text = LOOP.replace("body=%body\n", f"body=%body, backend_config={{{known}}}\n")
    assert {one.times for one in hlo.collectives(text) if one.kind == "all-gather"} == {7}


def test_a_loop_whose_end_depends_on_data_turns_once():
    text = LOOP.replace("constant(36)", "get-tuple-element(%p)")
    assert {one.times for one in hlo.collectives(text)} == {1}


def test_copies_and_transposes_of_a_cache_are_seen_in_any_order_of_axes():
    assert hlo.n_copies(LOOP, (16, 2, 4)) == 2 and hlo.n_copies(LOOP, (16, 2, 5)) == 0
    assert hlo.shapes(LOOP)["bf16", (64, 16)] == 1


def test_products_are_counted_through_loops_branches_and_derivatives():
    w, x = jnp.zeros((3, 5)), jnp.zeros((7, 3))
    one = 2 * 7 * 3 * 5

    def looped(x):
        return jax.lax.scan(lambda carry, _: (carry + (x @ w).sum(), None), 0.0, None, length=11)[0]

    def branched(x):
        return jax.lax.cond(x.sum() > 0, lambda x: (x @ w).sum(), lambda x: 0.0, x)

    assert matrix_flops(jax.make_jaxpr(looped)(x)).dense == 11 * one
    assert matrix_flops(jax.make_jaxpr(branched)(x)).dense == one
    assert matrix_flops(jax.make_jaxpr(jax.grad(lambda w: (x @ w).sum()))(w)).dense == 2 * one
    recomputed = jax.make_jaxpr(jax.grad(lambda w: jax.checkpoint(lambda w: jnp.sin(x @ w).sum())(w)))(w)
    assert matrix_flops(recomputed).dense == 3 * one


def test_products_over_rows_and_heads_count_as_attention():
    q = jnp.zeros((2, 4, 6, 8))
    found = matrix_flops(jax.make_jaxpr(lambda q: jnp.einsum("btnh,bsnh->bnts", q, q))(q))
    assert found == (0.0, 2 * 2 * 6 * 4 * 4 * 8)


def test_ragged_products_of_experts_count_each_row_once():
    rows, weights, sizes = jnp.zeros((7, 3)), jnp.zeros((4, 3, 5)), jnp.array([1, 2, 3, 1])

    def product(weights):
        return jax.lax.ragged_dot(rows, weights, sizes).sum()

    assert matrix_flops(jax.make_jaxpr(product)(weights)).dense == 2 * 7 * 3 * 5
    assert matrix_flops(jax.make_jaxpr(jax.grad(product))(weights)).dense == 2 * 2 * 7 * 3 * 5
