"""The sizes that programs come in: few, each a multiple of the shards, and the largest what a plan compiles."""

import pytest

from lte_jax.config import EngineConfig, build
from lte_jax.engine.shapes import SamplerShapes, UpdateShapes, row_sizes, smallest


def sampler(shards=1, max_prompt=64, budget=192, **engine) -> SamplerShapes:
    return SamplerShapes(EngineConfig(**{"length_bucket": 8, **engine}), shards, max_prompt, budget)


def test_rows_come_in_three_sizes():
    assert [row_sizes(most) for most in (24, 3, 1)] == [[6, 12, 24], [1, 3], [1]]
    assert [smallest([6, 12, 24], n) for n in (1, 6, 7, 13, 24)] == [6, 6, 12, 24, 24]
    with pytest.raises(StopIteration):
        smallest([6, 12, 24], 25)


def test_slots_and_prompts_divide_over_the_shards():
    assert sampler(slots=64).slots == [16, 32, 64] and sampler(slots=64, shrink=False).slots == [64]
    assert sampler(shards=4, slots=30).slots == [4, 12, 28]  # 7 a shard
    assert sampler(shards=4, slots=2).slots == [4]
    assert sampler(shards=4, prefill_rows=6).prompts == [4, 8]


def test_prefills_have_longer_sizes_only_where_responses_are_continued():
    prompts, both = (sampler().prompt_columns(forks) for forks in (False, True))
    assert prompts == [16, 24, 32, 48, 64] and both == [*prompts, 96, 128, 192, 256]
    assert sampler().columns == [64, 96, 128, 192, 256]


def test_a_micro_batch_stays_within_the_token_budget_where_more_than_a_row_fits():
    config = build({"prompt": {"budget": 6}, "sample": {"response_budget": 27}, "optim": {"length_bucket": 8}})
    shapes = UpdateShapes(config.optim.model_copy(update={"microbatch_tokens": 64}), 2, longest=33)
    assert shapes.columns == [8, 16, 24, 32, 40] and [shapes.n_columns(n) for n in (1, 8, 9)] == [8, 8, 16]
    assert [shapes.rows(columns) for columns in shapes.columns] == [[2, 4, 8], [2, 4], [2], [2], [2]]
    assert UpdateShapes.of(config, 2).longest == 33 and set(shapes.all) >= {(8, 8), (2, 40)}
