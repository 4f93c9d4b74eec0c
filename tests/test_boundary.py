"""Packing: every column, mask and weight by hand, and what is left out of the computation changes no gradient."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny
from handmade import HINTED, PROMPT, group, right, rollout, wrong

from lte_jax.config import build
from lte_jax.device.arrays import OFF_POLICY, ON_POLICY, SUPERVISED
from lte_jax.device.tally import METRICS
from lte_jax.engine.boundary import pack, pad_rows, split, tally_metrics
from lte_jax.engine.shapes import UpdateShapes
from lte_jax.records import Context, Kind, Lesson, Origin, Span, Status


def config(**sections):
    values = {"optim": {"length_bucket": 4, "microbatch_tokens": 32}, "sample": {"response_budget": 10}}
    for name, settings in sections.items():
        values[name] = {**values.get(name, {}), **settings}
    return build(values)


def packed(*groups, mesh=None, **sections):
    return pack(groups, config(**sections), mesh or tiny.mesh())


def of_rows(batch, name) -> np.ndarray:
    """An array of all rows that are trained, micro-batch after micro-batch; per token, a row's one value for all."""
    found = [np.asarray(getattr(m, name))[np.any(m.trained_BT, axis=1)] for m in batch.microbatches]
    if name.endswith("_BT"):
        found = [
            [one_value(*pair) for pair in zip(rows, trained_rows(m), strict=True)]
            for rows, m in zip(found, batch.microbatches)
        ]
    return np.concatenate(found)


def trained_rows(micro) -> np.ndarray:
    mask_BT = np.asarray(micro.trained_BT)
    return mask_BT[mask_BT.any(axis=1)]


def one_value(row, trained):
    (value,) = set(row[trained].tolist())
    assert not row[~trained].any()
    return np.float32(value)


STOP = 2
MIXED = group(
    wrong(tokens=(11, 12, STOP), logp=(-0.1, -0.2, -0.3)),
    wrong(tokens=(13, 14, 15, 16), logp=(-0.4, -0.5, -0.6, -0.7), truncated=True),
    right(tokens=(17, STOP), logp=(-0.8, -0.9), origin=Origin.HINTED),
    advantages=(-0.5, -0.6, 1.1),
)
ALL_RIGHT = group(right(tokens=(21, STOP)), right(tokens=(22, 23, 24, 25, 26, STOP)), index=1, advantages=(0.0, 0.0))


def test_a_batch_by_hand():
    (micro,) = packed(MIXED).microbatches
    assert not any(np.any(array[3:]) for array in jax.tree.leaves(micro))  # three rows take the size of four
    micro = jax.tree.map(lambda array: array[:3], micro)
    np.testing.assert_array_equal(  # longest first, eight columns for seven
        micro.tokens_BT,
        [
            [5, 6, 7, 13, 14, 15, 16, 0],
            [5, 6, 7, 11, 12, STOP, 0, 0],
            [5, 6, 7, 17, STOP, 0, 0, 0],  # sampled from another prompt, trained on the plain one
        ],
    )
    assert HINTED.ids != PROMPT.ids == (5, 6, 7)
    np.testing.assert_array_equal(
        micro.kind_BT,
        np.array([[0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 2, 2, 0, 0, 0]]),
    )
    assert (ON_POLICY, OFF_POLICY, SUPERVISED) == (Kind.ON_POLICY, Kind.OFF_POLICY, Kind.SUPERVISED) == (1, 2, 3)
    np.testing.assert_array_equal(
        micro.behaviour_logp_BT,
        np.float32(
            [[0, 0, 0, -0.4, -0.5, -0.6, -0.7, 0], [0, 0, 0, -0.1, -0.2, -0.3, 0, 0], [0, 0, 0, -0.8, -0.9, 0, 0, 0]]
        ),
    )
    is_trained_BT = np.asarray(micro.trained_BT)
    np.testing.assert_array_equal(micro.advantage_BT, is_trained_BT * np.float32([[-0.6], [-0.5], [1.1]]))
    np.testing.assert_array_equal(micro.weight_BT, is_trained_BT * np.float32(1 / 9))
    np.testing.assert_array_equal(micro.old_logp_BT, micro.behaviour_logp_BT)
    assert not micro.reference_logp_BT.any() and not micro.entropy_scale_B.any()
    dtypes = ["int32", "int8", *["float32"] * 7]
    assert [array.dtype for array in jax.tree.leaves(micro)] == dtypes


def test_empty_rows_fill_up_to_the_next_of_three_sizes():
    five = group(*[wrong(tokens=(11, 12, STOP))] * 5, advantages=[0.5] * 5)
    (micro,) = packed(five, optim={"microbatch_tokens": 8 * 32}).microbatches
    assert micro.tokens_BT.shape == (8, 8)
    assert not any(np.any(array[5:]) for array in jax.tree.leaves(micro)) and all(np.any(array[4]) for array in micro[:4])


def test_the_stop_token_is_trained_and_a_truncated_row_has_none():
    (micro,) = packed(MIXED).microbatches
    trained = [np.array(tokens)[mask] for tokens, mask in zip(micro.tokens_BT, np.array(micro.trained_BT))]
    assert [row[-1] == STOP for row in trained[:3]] == [False, True, True]


def test_z_counts_rows_without_variance_but_leaves_them_out():
    batch = packed(MIXED, ALL_RIGHT)
    assert (batch.n_tokens, batch.n_trained) == (9 + 8, 3)
    (micro,) = batch.microbatches
    np.testing.assert_array_equal(of_rows(batch, "weight_BT"), np.float32([1 / 17, 1 / 17, 1 / 17]))
    assert not np.isin([21, 22, 23], micro.tokens_BT).any()


def test_with_an_entropy_bonus_rows_without_variance_stay_in():
    assert packed(MIXED, ALL_RIGHT, loss={"entropy_coef": -0.001}).n_trained == 5  # a control: less entropy
    batch = packed(MIXED, ALL_RIGHT, loss={"entropy_coef": 0.001})
    assert (batch.n_tokens, batch.n_trained) == (17, 5)
    assert sum(int(np.sum(micro.trained_BT)) for micro in batch.microbatches) == 17
    np.testing.assert_array_equal(of_rows(batch, "advantage_BT"), np.float32([0, -0.6, -0.5, 1.1, 0]))


@pytest.mark.parametrize(
    "sections",
    [
        {"loss": {"kl": "k3"}},
        {"loss": {"kl": "k1"}},
        {"loss": {"entropy_schedule": "adaptive"}},
        {"advantage": {"zero_variance": "keep"}},
    ],
    ids=str,
)
def test_with_a_kl_or_an_entropy_to_come_rows_without_variance_stay_in(sections):
    batch = packed(MIXED, ALL_RIGHT, **sections)
    assert (batch.n_tokens, batch.n_trained) == (17, 5)


def test_rows_whose_advantage_comes_from_entropy_are_trained():
    batch = packed(MIXED, replace(ALL_RIGHT, entropy_scale=0.1))
    np.testing.assert_array_equal(of_rows(batch, "entropy_scale_B"), np.float32([0.1, 0, 0, 0, 0.1]))


def test_what_was_drawn_after_top_p_stands_beside_the_behaviour_logp():
    first = MIXED.members[0]
    drawn = replace(first, response=replace(first.response, sampled_logp=(-0.05, -0.1, -0.15)))
    (micro,) = packed(replace(MIXED, members=(drawn, *MIXED.members[1:]))).microbatches
    np.testing.assert_array_equal(micro.sampled_logp_BT[1], np.float32([0, 0, 0, -0.05, -0.1, -0.15, 0, 0]))
    np.testing.assert_array_equal(micro.behaviour_logp_BT[1], np.float32([0, 0, 0, -0.1, -0.2, -0.3, 0, 0]))


def test_members_without_a_verdict_leave_update_and_z():
    undecided = replace(MIXED, advantages=(None, -0.6, 1.1))
    batch = packed(undecided, optim={"microbatch_tokens": 16})
    assert (batch.n_tokens, batch.n_trained) == (6, 2)
    (micro,) = batch.microbatches
    assert 11 not in np.array(micro.tokens_BT)
    np.testing.assert_array_equal(of_rows(batch, "weight_BT"), np.float32([1 / 6, 1 / 6]))


def test_a_group_without_one_advantage_per_member_is_refused():
    with pytest.raises(ValueError):
        packed(replace(MIXED, advantages=(0.5,)))


@pytest.mark.parametrize("groups", [(), (ALL_RIGHT,), (replace(MIXED, advantages=(None,) * 3),)])
def test_nothing_to_train_is_an_empty_batch(groups):
    batch = packed(*groups)
    assert (batch.microbatches, batch.n_trained) == ([], 0)
    assert batch.n_tokens == sum(len(r.response) for g in groups if g is ALL_RIGHT for r in g.members)


def test_rows_are_sorted_and_cut_into_buckets_under_the_token_budget():
    lengths = [1, 30, 2, 9, 3, 10, 4, 29]  # with the prompt 4 … 33
    many = group(*(wrong(tokens=range(1, n + 1)) for n in lengths), advantages=[0.5] * len(lengths))
    batch = packed(many, optim={"length_bucket": 8, "microbatch_tokens": 64})
    shapes = [micro.tokens_BT.shape for micro in batch.microbatches]
    assert shapes == [(1, 40), (1, 32), (2, 16), (4, 8)]  # 136 places; a full budget each time would take 184
    total = sum(int(np.sum(micro.trained_BT)) for micro in batch.microbatches)
    assert total == batch.n_tokens == sum(lengths)


def test_no_split_pads_less_at_a_quarter_of_the_budget_for_a_further_micro_batch():
    """Against all splits there are."""

    def cheapest(lengths) -> int:
        if not lengths:
            return 0
        n_columns = -(-lengths[0] // 4) * 4
        most = settings.optim.rows_per_shard(n_columns, 2)
        sizes = {size for size in (most // 4, most // 2, most) if size}
        return min(2 * size * n_columns + 16 + cheapest(lengths[2 * size :]) for size in sizes)

    settings, rng = config(optim={"microbatch_tokens": 64}), np.random.default_rng(0)
    for n_rows in (1, 2, 5, 9, 12):
        lengths = sorted(rng.integers(1, 33, n_rows).tolist(), reverse=True)
        found = split(lengths, UpdateShapes.of(settings, 2))
        assert sum(rows * columns + 16 for rows, columns in found) == cheapest(lengths)
        assert sum(rows for rows, _ in found) >= n_rows and all(
            rows * columns <= 64 or rows == 2 for rows, columns in found
        )


@pytest.mark.parametrize("shape", [(2, 2, 2), (8, 1, 1)], ids=str)
def test_rows_divide_over_the_mesh(shape):
    mesh = tiny.mesh(*shape)
    shards = shape[0] * shape[1]
    for batch in (packed(MIXED, mesh=mesh), packed(MIXED, mesh=mesh, optim={"microbatch_tokens": 8})):
        for micro in batch.microbatches:
            rows = micro.tokens_BT.shape[0]
            assert rows % shards == 0
            assert {shard.data.shape[0] for shard in micro.tokens_BT.addressable_shards} == {rows // shards}
            assert len({str(shard.index) for shard in micro.entropy_scale_B.addressable_shards}) == shards


def test_shards_have_as_many_rows_and_nearly_as_many_tokens():
    """Rows are sorted by length, so cutting them in order would give the first shard all the long ones."""
    lengths = np.random.default_rng(0).integers(1, 60, 45)
    many = group(*(wrong(tokens=range(1, n + 1)) for n in lengths), advantages=[0.5] * len(lengths))
    one_length = {"microbatch_tokens": 4096, "length_bucket": 64}
    (micro,) = packed(many, mesh=tiny.mesh(2, 2, 2), optim=one_length).microbatches
    per_shard = np.split(np.asarray(micro.trained_BT), 4)
    n_tokens, n_rows = [hand.sum() for hand in per_shard], [hand.any(axis=1).sum() for hand in per_shard]
    assert sum(n_tokens) == sum(lengths) and max(n_rows) - min(n_rows) <= 1
    assert max(n_tokens) - min(n_tokens) <= max(lengths)
    assert max(n_tokens) < 1.25 * sum(lengths) / 4


def test_hinted_parts_are_weighed_apart_where_asked():
    batch = packed(MIXED, loss={"normaliser": "token_mean_by_part"})
    np.testing.assert_array_equal(of_rows(batch, "weight_BT"), np.float32([1 / 7, 1 / 7, 1 / 2]))


def test_the_constant_normaliser_uses_the_response_budget_and_every_decided_row():
    batch = packed(MIXED, ALL_RIGHT, loss={"normaliser": "constant"})
    np.testing.assert_array_equal(of_rows(batch, "weight_BT"), np.float32([1 / 50, 1 / 50, 1 / 50]))


def test_an_ungraded_rollout_needs_no_advantage():
    ungraded = group(rollout(None), rollout(Status.TIMEOUT), right(), wrong(), advantages=(None, None, 0.7, -0.7))
    assert packed(ungraded).n_trained == 2


def test_rows_are_padded_with_zeros():
    np.testing.assert_array_equal(pad_rows([[1], [2, 3]], 3, 3), [[1, 0, 0], [2, 3, 0], [0, 0, 0]])


def shown(**pairs):
    """Metrics from (value, number of tokens) by the name behind the slash; the rest are of no token."""
    found = {name: pairs.pop(name.split("/")[1], (0, 0)) for name in METRICS}
    assert not pairs
    return tally_metrics({name: tuple(map(np.float32, pair)) for name, pair in found.items()}, METRICS)


def test_metrics_are_means_over_their_own_tokens():
    metrics = shown(
        on_policy_mean=(6, 4), hinted_mean=(1, 2), hinted_push_frac=(1, 4), hinted_max=(0.75, 2), trained_tokens=(6, 1)
    )
    assert metrics == {
        "ratio/on_policy_mean": 1.5,
        "ratio/hinted_mean": 0.5,
        "ratio/hinted_max": 0.75,
        "update/hinted_push_frac": 0.25,
        "update/trained_tokens": 6,
    }


def test_a_mean_over_no_token_is_left_out():
    assert shown() == {}


# Rows of spans


def test_a_response_may_be_trained_in_part_as_another_kind_and_with_other_advantages():
    spans = Span(1, Kind.UNTRAINED), Span(2, Kind.OFF_POLICY), Span(2, Kind.ON_POLICY)
    mixed = replace(wrong(tokens=(11, 12, 13, 14, STOP), logp=(-0.1, -0.2, -0.3, -0.4, -0.5)), kinds=spans)
    (micro,) = packed(group(mixed, right(tokens=(17, STOP)), advantages=(((0, 0.5), (3, -2.0)), 1.0))).microbatches
    np.testing.assert_array_equal(micro.tokens_BT[0], [5, 6, 7, 11, 12, 13, 14, STOP])
    np.testing.assert_array_equal(micro.kind_BT[0], [0, 0, 0, 0, 2, 2, 1, 1])
    np.testing.assert_array_equal(micro.advantage_BT[0], np.float32([0, 0, 0, 0, 0.5, 0.5, -2, -2]))
    np.testing.assert_array_equal(micro.weight_BT[0], np.float32([0, 0, 0, 0, *[1 / 6] * 4]))  # 4 and 2 are trained
    np.testing.assert_array_equal(micro.behaviour_logp_BT[0], np.float32([0, 0, 0, 0, -0.2, -0.3, -0.4, -0.5]))


def test_spans_that_do_not_cover_the_response_are_refused():
    short = replace(wrong(tokens=(11, 12, STOP)), kinds=(Span(2, Kind.ON_POLICY),))
    with pytest.raises(ValueError, match="cover 2 tokens, its response has 3"):
        packed(group(short, right(), advantages=(1.0, -1.0)))


def test_a_hinted_response_may_be_trained_on_its_own_prompt_where_it_is_on_policy():
    own = replace(right(tokens=(17, STOP), origin=Origin.HINTED), trained_on=Context.OWN)
    (micro,) = packed(group(own, wrong(tokens=(18, STOP)), advantages=(1.0, -1.0))).microbatches
    np.testing.assert_array_equal(micro.tokens_BT[0, :7], [*HINTED.ids, 17, STOP])
    np.testing.assert_array_equal(micro.kind_BT[0, :7], [0, 0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize("normaliser", ["token_mean", "token_mean_by_part", "sequence_mean", "constant"])
def test_supervised_tokens_have_a_normaliser_of_their_own(normaliser):
    lessons = Lesson(PROMPT, (31, 32, 33, STOP), weight=0.5, train_from=1), Lesson(PROMPT, (34, STOP))
    with_lessons = packed(replace(MIXED, lessons=lessons), loss={"normaliser": normaliser})
    without = packed(MIXED, loss={"normaliser": normaliser})
    assert (with_lessons.n_tokens, with_lessons.n_trained) == (without.n_tokens, 5) == (9, 5)
    rows = {}
    for micro in with_lessons.microbatches:
        for tokens, kinds, advantages, weights in zip(
            *map(np.asarray, (micro.tokens_BT, micro.kind_BT, micro.advantage_BT, micro.weight_BT)), strict=True
        ):
            rows[int(tokens[3])] = kinds, advantages, weights
    np.testing.assert_array_equal(rows[31][0][3:7], [0, 3, 3, 3])
    np.testing.assert_array_equal(rows[31][1][3:7], np.float32([0, 0.5, 0.5, 0.5]))
    np.testing.assert_array_equal(rows[31][2][3:7], np.float32([0, 1 / 5, 1 / 5, 1 / 5]))  # 3 and 2 are supervised
    np.testing.assert_array_equal(rows[34][2][3:5], np.float32([1 / 5, 1 / 5]))
    drawn = np.concatenate([of_rows(without, "weight_BT")])
    assert sorted(set(drawn.tolist())) == sorted({float(rows[first][2][3]) for first in (11, 13, 17)})


def test_lessons_alone_make_an_update():
    alone = packed(group(advantages=(), index=3), replace(group(index=4), lessons=(Lesson(PROMPT, (34, STOP)),)))
    assert (alone.n_tokens, alone.n_trained) == (0, 1)
