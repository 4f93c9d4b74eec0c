"""Credits by what the policy makes of a response, by its length and by what it repeats: numbers written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import group, right, rollout, wrong
from test_credits import credited

from lte_jax.config import build
from lte_jax.host.credits import make_credits
from lte_jax.host.credits.g2rl import novelty
from lte_jax.host.credits.length import added, repeated_tokens
from lte_jax.host.credits.repexp import leverage
from lte_jax.records import Origin, Status


def credit(name, **args):
    return make_credits(build({"advantage": {"credits": [name], "args": {name: args} if args else {}}}))[name]


def measured(its, name, *values):
    return replace(its, features=tuple({} if value is None else {name: value} for value in values))


def test_ear_counts_by_how_sure_the_policy_is():
    its = group(right(), right(), wrong())
    ours = credited("confident", its, [{"mean_entropy": h} for h in (0.2, 0.4, 0.6)])
    np.testing.assert_allclose(ours, [0.866025, 0.577350, -0.577350], atol=2e-6)
    far = credited("confident", group(right(), wrong(), wrong()), [{"mean_entropy": h} for h in (0.1, 0.1, 2.8)])
    assert far[2] == 0.0 and far[0] == pytest.approx(1.9 * 1.154701, abs=2e-6)  # 2 - 2.8 is no sign change


def test_ear_leaves_hinted_members_alone_and_out_of_the_mean():
    its = group(right(origin=Origin.HINTED), wrong(), wrong(), rollout(Status.TIMEOUT))
    features = [{"mean_entropy": h} for h in (9.0, 0.5, 1.5)] + [{}]
    assert credited("confident", its, features, baseline="mean") == [
        pytest.approx(2 / 3), pytest.approx(-1.5 / 3), pytest.approx(-0.5 / 3), None
    ]  # fmt: skip


def test_verl_adds_a_bonus_where_the_rank_is_above_its_average():
    memory, values = {"means": [10, 1, 0.5]}, (12, 0.8, 0.6)
    its = measured(group(*[right()] * 4), "rank", values, values, values, None)
    ours = credit("verl").advantages(its, [1.0, -1.0, ((0, 0.05), (1, 1.0)), None], memory)
    assert ours[:2] == [pytest.approx(1.038957, abs=1e-6), pytest.approx(-0.961043, abs=1e-6)]
    assert ours[2] == ((0, pytest.approx(0.075)), (1, pytest.approx(1.038957, abs=1e-6))) and ours[3] is None
    below = measured(its, "rank", *[(9, 0.5, 0.5)] * 4)
    assert credit("verl").advantages(below, [1.0, 0.0, -1.0, None], memory) == [1.0, 0.0, -1.0, None]


def test_verl_compares_with_moving_averages_that_begin_with_the_first_step():
    its = measured(group(right(), wrong(), rollout(Status.TIMEOUT)), "rank", (2, 1, 0), (4, 3, 2), None)
    verl = credit("verl")
    assert verl.advantages(its, [1.0, -1.0, None], {}) == [1.0, -1.0, None]  # nothing to compare with
    memory = verl.observe({}, [its])
    assert memory == {"means": [3.0, 2.0, 1.0]}
    later = measured(group(right()), "rank", (13, 12, 11))
    assert verl.observe(memory, [later])["means"] == pytest.approx([6.0, 5.0, 4.0])
    assert verl.observe(memory, []) == memory


@pytest.mark.parametrize(("sign", "rewards"), [("written", [1, 1, -0.5]), ("told", [1, 1, -1.5])])
def test_g2rl_scales_the_reward_of_what_the_good_ones_do_not_explain(sign, rewards):
    phi, r = np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([1.0, 1, -1])
    np.testing.assert_allclose(novelty(phi, r), [0, 0, 1], atol=1e-12)
    its = measured(group(right(), right(), wrong(), rollout(Status.CRASH)), "sensitivity", *(3 * phi), None)
    assert credit("g2rl", sign=sign).rewards(its, [1.0, 1.0, 0.0], {}) == pytest.approx(rewards)
    assert credit("g2rl", sign=sign, strength=9).rewards(its, [1.0, 1.0, 0.0], {})[2] == pytest.approx(
        {"told": -3.0, "written": 3.0}[sign]  # -1 - 9 and -1 + 9, limited
    )


def test_g2rls_novelty_before_it_is_stretched_and_where_there_is_none():
    """nu = (1 - e / (e + 1 / e), the same, 1): the first two explain each other by 0.880797."""
    phi = np.array([[1.0, 0], [1, 0], [0, 1], [1, 1]])
    nu = novelty(phi, np.array([1.0, 1, -1, -1]))
    e = np.exp([1.0, 1, -1, -1])
    cos2 = np.array([[1, 1, 0, 0.5], [1, 1, 0, 0.5], [0, 0, 1, 0.5], [0.5, 0.5, 0.5, 1]])
    raw = np.array([1 - sum(e[j] * cos2[i, j] for j in range(4) if j != i) / (e.sum() - e[i]) for i in range(4)])
    np.testing.assert_allclose(nu, (raw - raw.min()) / (raw.max() - raw.min()), atol=1e-12)
    assert novelty(np.ones((3, 2)), np.array([1.0, 1, 1])).tolist() == [0, 0, 0]
    assert novelty(np.ones((1, 2)), np.array([1.0])).tolist() == [0]
    assert credit("g2rl").rewards(group(rollout(Status.TIMEOUT)), [], {}) == []


X = np.array([[1.0, 0], [1, 0], [-2, 0]])


def test_repexp_gives_outliers_of_a_group_a_bonus():
    np.testing.assert_allclose(leverage(X + 7, 0.01), [0.166389, 0.166389, 0.665557], atol=1e-6)
    one = credited("repexp", group(right(), wrong(), wrong()), [{"mean_hidden": x} for x in X])
    np.testing.assert_allclose(one, [1.154688, -0.581678, -0.573010], atol=2e-6)  # eps 1e-6 there
    everyone = credited("repexp", group(*[right()] * 3), [{"mean_hidden": x} for x in X])
    np.testing.assert_allclose(everyone, [-0.577350, -0.577350, 1.154701], atol=2e-6)  # diversity at full scale
    assert credited("repexp", group(*[wrong()] * 3), [{"mean_hidden": x} for x in X]) == [0, 0, 0]


def test_repexp_projects_on_few_dimensions_alike_for_all_groups_of_a_step():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((3, 900))
    repexp = credit("repexp", dimensions=256)
    its = measured(group(right(), wrong(), wrong()), "mean_hidden", *hidden)
    bonus = np.array(repexp.rewards(its, [0.0] * 3, {}))
    assert (bonus == repexp.rewards(replace(its, index=5), [0.0] * 3, {})).all()
    assert (bonus != repexp.rewards(replace(its, step=1), [0.0] * 3, {})).all()
    projected = repexp._projected(hidden, step=0)
    assert projected.shape == (3, 256)
    lengths = np.linalg.norm(projected, axis=1) / np.linalg.norm(hidden, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=6 / 256**0.5)


@pytest.mark.parametrize(
    ("make", "n", "reward"),
    [
        (right, 0, 2), (right, 4096, 1.5), (wrong, 0, -10), (wrong, 2048, -8.535534), (wrong, 4096, -5),
        (wrong, 8000, -0.013548), (right, 8176, -10), (wrong, 8176, -10), (right, 8175, 1.0),
    ],
)  # fmt: skip
def test_rewards_by_length(make, n, reward):
    its = group(make(tokens=(1,) * n), rollout(Status.TIMEOUT))
    (ours,) = credit("cosine").rewards(its, [its.members[0].verdict.reward], {})
    assert ours == pytest.approx(reward, abs=2e-5)


def test_rewards_by_length_keep_what_came_before():
    its = group(right(tokens=(1,) * 4096))
    assert credit("cosine").rewards(its, [0.75], {}) == [pytest.approx(1.25)]  # 0.25 was taken off before


def test_what_is_repeated_costs_and_so_do_the_tokens_that_led_there():
    its = group(wrong(tokens=(7, 8, 7, 8, 9)), wrong(tokens=(1, 2, 3)), rollout(Status.TIMEOUT))
    (first, *others) = credit("repetition", n=2).advantages(its, [0.5, -0.5, None], {})
    assert first == tuple(
        (t, pytest.approx(0.5 + c, abs=1e-6)) for t, c in enumerate((-0.09752, -0.098505, -0.0995, -0.05, 0))
    )
    assert others == [-0.5, None]


def test_repeated_tokens_and_sums_of_segments():
    assert repeated_tokens([1, 2, 1, 2, 1, 2], 2) == [False, False, True, True, True, True]
    assert repeated_tokens([1, 1, 1], 3) == [False] * 3 and repeated_tokens([1], 3) == [False]
    assert added(((0, 1.0), (2, -1.0)), [0.5, 0.5, 0.5, 0.0]) == ((0, 1.5), (2, -0.5), (3, -1.0))
    assert added(((0, 1.0),), []) == ((0, 1.0),)
