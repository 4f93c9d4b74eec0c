"""What the sampler draws and records: the scorer's log-probs, whatever the layout, from keys that never meet."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny

from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import qwen3, sampler
from lte_jax.device.arrays import Drawing
from lte_jax.device.attention import causal_attention
from lte_jax.engine.rollout import TRAIN, Engine, Grader, Round
from lte_jax.engine.shapes import SamplerShapes
from lte_jax.engine.slots import drawing
from lte_jax.records import Annealing, Part, Plan, Problem, Prompt, Request, Sampling, Status, Verdict

MODEL = ModelConfig(compute_dtype="float32", attention="xla")
STOP_IDS = (3, 9, 17, 24, 31, 44)  # of 50: about one token in eight ends a response
MAX_PROMPT, BUDGET, TEMPERATURE = 9, 14, 1.7
# Of a log-prob: whole sequences and cached steps sum in another order; logits go up to about 8
LOGP = rounding.bound(rounding.forward(tiny.ARCH, MAX_PROMPT + BUDGET), magnitude=8)
LAYOUT = dict(slots=8, chunk=4, prefill_rows=4, length_bucket=24)  # one length bucket: few programs
SAMPLING = Sampling(TEMPERATURE, 1.0, 0, BUDGET)


def prompt(length: int, seed: int = 0) -> Prompt:
    rng = np.random.default_rng([length, seed])
    return Prompt(f"{length}/{seed}", tuple(map(int, rng.integers(4, tiny.ARCH.vocab_size, length))))


# Uneven prompts, two of which are asked for three and two times.
REQUESTS = [
    Request(prompt(length), (7, TRAIN, 2, group, 0, index))
    for group, (length, n) in enumerate([(1, 1), (5, 3), (9, 2), (8, 1), (2, 1), (6, 1), (4, 1), (7, 1), (3, 1)])
    for index in range(n)
]


def engine(mesh=None, max_prompt=MAX_PROMPT, **layout) -> Engine:
    made = Engine(
        tiny.ARCH, MODEL, EngineConfig(**LAYOUT | layout), mesh or tiny.mesh(), STOP_IDS, max_prompt=max_prompt
    )
    made.load(tiny.params())
    return made


def draw(made: Engine, requests=REQUESTS, sampling=SAMPLING) -> list:
    """Responses in the order of the requests."""
    responses = dict(made.generate(requests, sampling))
    return [responses[place] for place in range(len(requests))]


@jax.jit
def full_forward(params, tokens_BT, temperature):
    model = qwen3.bind(tiny.ARCH, params)
    hidden_BTD = model(tokens_BT, dtype=jnp.float32, attend=partial(causal_attention, impl="reference"), scan=False)
    return jax.nn.log_softmax(qwen3.logits(hidden_BTD, model.head_VD) / temperature)


def scores(requests, responses, temperature=TEMPERATURE) -> list[np.ndarray]:
    """For each response the log-probs [R, V] of one forward pass over prompt and response."""
    tokens_BT = np.zeros((len(requests), MAX_PROMPT + BUDGET), np.int32)
    for row, (request, response) in enumerate(zip(requests, responses, strict=True)):
        whole = [*request.prompt.ids, *response.tokens]
        tokens_BT[row, : len(whole)] = whole
    logp_BTV = np.array(full_forward(tiny.params(), tokens_BT, temperature))
    firsts = [len(request.prompt.ids) - 1 for request in requests]
    return [
        logp_BTV[row, first : first + len(response.tokens)]
        for row, (first, response) in enumerate(zip(firsts, responses, strict=True))
    ]


def at(logp_RV, tokens_R):
    return logp_RV[np.arange(len(tokens_R)), tokens_R]


def truncated_by_sorting(logp_V, top_p, top_k):
    """Top-k, then the fewest tokens whose renormalised mass reaches top-p; float64."""
    order = np.argsort(-logp_V, kind="stable")[: top_k or None]
    p = np.exp(logp_V[order].astype(np.float64))
    p /= p.sum()
    n = np.searchsorted(np.cumsum(p), top_p) + 1
    out = np.full(logp_V.shape, -np.inf)
    out[order[:n]] = np.log(p[:n] / p[:n].sum())
    return out


def same(ours, theirs) -> bool:
    return all(np.array_equal(a.tokens, b.tokens) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def plain():
    return draw(engine())


def test_recorded_log_probs_equal_one_full_forward(plain):
    lengths = {len(response.tokens) for response in plain}
    assert len(lengths) > 4 and min(lengths) < BUDGET  # early stops, so slots are refilled
    for response, logp_RV in zip(plain, scores(REQUESTS, plain), strict=True):
        np.testing.assert_allclose(response.behaviour_logp, at(logp_RV, response.tokens), atol=LOGP)
        np.testing.assert_array_equal(response.sampled_logp, response.behaviour_logp)


def test_truncated_log_probs_equal_a_sort_and_behaviour_stays_untruncated():
    top_p, top_k = 0.8, 20
    responses = draw(engine(), sampling=Sampling(TEMPERATURE, top_p, top_k, BUDGET))
    for response, logp_RV in zip(responses, scores(REQUESTS, responses), strict=True):
        expected_RV = np.array([truncated_by_sorting(logp_V, top_p, top_k) for logp_V in logp_RV])
        np.testing.assert_allclose(response.behaviour_logp, at(logp_RV, response.tokens), atol=LOGP)
        np.testing.assert_allclose(response.sampled_logp, at(expected_RV, response.tokens), atol=LOGP)
        assert np.all(response.sampled_logp > response.behaviour_logp)


@jax.jit
def choose(logits_BV, keys, temperature, top_p, top_k):
    """Without annealing, from the first token."""
    settings = Drawing(temperature, temperature, temperature, jnp.inf, 0.0, top_p, top_k)
    return sampler.choose_token(logits_BV, keys, jnp.zeros(len(logits_BV), jnp.int32), settings)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed, impl="threefry2x32"), n)


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.9, 0), (0.3, 0), (1.0, 1), (1.0, 7), (0.6, 12), (0.02, 50)])
def test_only_kept_tokens_are_drawn_with_the_log_prob_they_were_drawn_from(top_p, top_k):
    rows, temperature = 256, 0.7
    logits_BV = np.random.default_rng(1).standard_normal((rows, 50), np.float32) * 2
    token_B, behaviour_B, sampled_B = choose(logits_BV, keys(rows), temperature, top_p, np.int32(top_k))
    logp_BV = logits_BV / temperature - np.log(np.exp(logits_BV / temperature).sum(-1, keepdims=True))
    kept_BV = np.array([truncated_by_sorting(logp_V, top_p, top_k) for logp_V in logp_BV])
    tolerance = rounding.bound(2 * 50 + 4 * rounding.FUNCTION, magnitude=np.abs(logp_BV).max())  # two sums over V
    np.testing.assert_allclose(behaviour_B, at(logp_BV, token_B), atol=tolerance)
    np.testing.assert_allclose(sampled_B, at(kept_BV, token_B), atol=tolerance)  # -inf where a token was not kept


def test_every_kept_token_can_be_drawn():
    logits_V = np.log(np.array([0.1, 0.2, 0.3, 0.25, 0.15], np.float32))
    token_B, _, _ = choose(np.tile(logits_V, (512, 1)), keys(512), 1.0, 0.7, np.int32(0))
    assert set(np.array(token_B).tolist()) == {1, 2, 3}  # .3 + .25 is not yet .7


# The values of EAD's schedule: T = 1, high 1.2, low .1, after 10 tokens; counted from the response's start.
@pytest.mark.parametrize(
    ("decay", "place", "temperature"),
    [(500, 9, 1), (500, 10, 1.1798), (500, 91, 1.0004), (500, 370, 0.1041), (500, 371, 0.1), (10500, 3071, 0.8603)],
)
def test_the_temperature_falls_as_the_paper_says(decay, place, temperature):
    settings = drawing(Sampling(1.0, 1.0, 0, 4000, Annealing(1.2, 0.1, decay, 10)))
    found = sampler.annealed_temperature(jnp.array([place]), settings)
    np.testing.assert_allclose(found, temperature, atol=5.1e-5)  # the digits that are given


def test_what_is_drawn_hot_is_recorded_at_both_temperatures():
    """Logits (0, 1) at T = 1 and at T_10 = 1.2: p = (.2689, .7311) and (.3029, .6971), so weights .8878 and 1.0488."""
    settings = drawing(Sampling(1.0, 1.0, 0, 9, Annealing(1.2, 1.2, 9, 10)))
    logits_BV, place_B = np.tile(np.float32([0, 1]), (64, 1)), jnp.full(64, 10, jnp.int32)
    token_B, behaviour_B, sampled_B = map(np.array, sampler.choose_token(logits_BV, keys(64), place_B, settings))
    assert set(token_B.tolist()) == {0, 1}
    np.testing.assert_allclose(np.exp(behaviour_B), np.array([0.2689, 0.7311])[token_B], atol=5e-5)
    np.testing.assert_allclose(np.exp(behaviour_B - sampled_B), np.array([0.8878, 1.0488])[token_B], atol=5e-5)


ANNEALED = Sampling(TEMPERATURE, 1.0, 0, BUDGET, Annealing(2.0, 0.3, 9.0, 3))


def test_an_annealed_token_is_recorded_with_what_it_was_drawn_from():
    """`sampled_logp` of a plain forward over T_t, `behaviour_logp` over T; the place counts over chunks and slots."""
    responses = draw(engine(slots=3), sampling=ANNEALED)
    hot, cold = (scores(REQUESTS, responses, temperature) for temperature in (2.0, TEMPERATURE))
    assert max(len(response.tokens) for response in responses) == BUDGET
    for response, at_2_RV, at_t_RV in zip(responses, hot, cold, strict=True):
        place_R = np.arange(len(response.tokens))
        temperature_R = np.where(place_R < 3, TEMPERATURE, np.maximum(2.0 - np.expm1(place_R / 9.0), 0.3))
        drawn_RV = at_2_RV * 2.0 / temperature_R[:, None]
        drawn_RV -= np.log(np.exp(drawn_RV).sum(-1, keepdims=True))
        np.testing.assert_allclose(response.behaviour_logp, at(at_t_RV, response.tokens), atol=LOGP)
        coldest = LOGP * TEMPERATURE / 0.3  # which divides the logits
        np.testing.assert_allclose(response.sampled_logp, at(drawn_RV, response.tokens), atol=coldest)
    for chunk in (1, 24):
        assert same(draw(engine(chunk=chunk), REQUESTS[:4], ANNEALED), responses[:4])


def test_a_schedule_that_stays_at_the_temperature_draws_bit_for_bit_as_none_does(plain):
    made = engine()
    n_before = traces(sampler.decode_chunk)
    steady = Annealing(TEMPERATURE, TEMPERATURE, 7.0, 2)  # however fast it decays
    for ours, theirs in zip(draw(made, sampling=replace(SAMPLING, annealing=steady)), plain, strict=True):
        np.testing.assert_array_equal(ours.tokens, theirs.tokens)
        np.testing.assert_array_equal(ours.behaviour_logp, theirs.behaviour_logp)
        np.testing.assert_array_equal(ours.sampled_logp, theirs.sampled_logp)
    draw(made, sampling=ANNEALED)
    assert traces(sampler.decode_chunk) == n_before  # one program serves all


def test_top_k_of_1_is_greedy():
    responses = draw(engine(), sampling=Sampling(TEMPERATURE, 1.0, 1, BUDGET))
    for response, logp_RV in zip(responses, scores(REQUESTS, responses), strict=True):
        np.testing.assert_array_equal(response.tokens, logp_RV.argmax(-1))
        np.testing.assert_allclose(response.sampled_logp, 0, atol=LOGP)


@pytest.mark.parametrize(
    "layout",
    [dict(slots=1), dict(slots=3), dict(slots=16), dict(chunk=32), dict(prefill_rows=1), dict(length_bucket=8)],
    ids=str,
)
def test_tokens_do_not_depend_on_the_layout(layout, plain):
    assert same(draw(engine(**layout)), plain)


def test_tokens_do_not_depend_on_order_or_neighbours(plain):
    made = engine()
    assert same(draw(made, REQUESTS[::-1])[::-1], plain)
    assert same(draw(made, REQUESTS[1::4]), plain[1::4])


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 2, 2)], ids=str)
def test_tokens_do_not_depend_on_the_mesh(shape, plain):
    responses = draw(engine(tiny.mesh(*shape)))
    assert same(responses, plain)
    for ours, theirs in zip(responses, plain, strict=True):
        np.testing.assert_allclose(ours.behaviour_logp, theirs.behaviour_logp, atol=LOGP)


def test_every_part_of_a_key_matters():
    base = (7, TRAIN, 2, 3, 1, 4)
    neighbours = [tuple(part + (place == changed) for place, part in enumerate(base)) for changed in range(6)]
    swapped = (7, TRAIN, 2, 3, 4, 1)
    asked = [Request(prompt(5), key) for key in [base, *neighbours, swapped, base]]
    *different, again = draw(engine(), asked)
    drawn = {tuple(response.tokens[:2]) + (len(response.tokens),) for response in different}
    assert len(drawn) == len(different)
    assert same([again], different[:1])


def test_problems_that_repeat_in_a_step_do_not_sample_alike():
    class Never:
        forks = hints = False

        def first(self, plan, memory):
            return (Part(plan.prompt, plan.n),)

        def retry(self, group, memory):
            return None

    class Numbers:
        def encode(self, ids):
            return " ".join(map(str, ids))

    def no_verdicts(answers):
        return [Verdict(False, Status.DIFFERENT, problem.answer) for problem, _, _ in answers]

    asked = [Plan(Problem("same", "text", "1"), prompt(5), 3)] * 2
    judge = Grader(Numbers().encode, no_verdicts)
    first, second = engine().collect(dict(enumerate(asked)), Round(SAMPLING, judge, seed=7, step=2), Never(), {})
    texts = [rollout.text for group in (first, second) for rollout in group.initial]
    assert len(set(texts)) == 6
    assert [rollout.index for rollout in first.initial] == [0, 1, 2] and (first.index, second.index) == (0, 1)


def test_a_response_ends_with_its_first_stop_token_or_at_the_budget(plain):
    for response in plain:
        stops = np.isin(response.tokens, STOP_IDS)
        assert not stops[:-1].any()
        assert response.truncated == (not stops[-1])
        assert not response.truncated or len(response.tokens) == BUDGET
        assert len(response.tokens) <= BUDGET
    assert {response.truncated for response in plain} == {True, False}


def test_a_stop_token_in_the_last_place_of_the_budget_is_no_truncation(plain):
    place = next(p for p, r in enumerate(plain) if not r.truncated and len(r.tokens) > 1)
    n = len(plain[place].tokens)
    exact, short = (
        draw(engine(), [REQUESTS[place]], Sampling(TEMPERATURE, 1.0, 0, budget))[0] for budget in (n, n - 1)
    )
    np.testing.assert_array_equal(exact.tokens, plain[place].tokens)
    np.testing.assert_array_equal(short.tokens, plain[place].tokens[:-1])
    assert (exact.truncated, short.truncated) == (False, True)


def traces(program) -> int:
    return program._cache_size()


def test_the_same_sizes_compile_nothing_again():
    made = engine()
    draw(made)
    programs = [value for value in vars(sampler).values() if hasattr(value, "_cache_size")]
    assert sampler.decode_chunk in programs and sampler.insert_layer in programs
    before = [traces(program) for program in programs]
    made.load(tiny.params())
    draw(made)
    assert [traces(program) for program in programs] == before


def test_programs_stay_few_whatever_is_drawn():
    made = engine(length_bucket=4, slots=16)
    sampler.decode_chunk.clear_cache()
    sampler.prefill.clear_cache()
    for seed, (temperature, top_p, top_k) in enumerate([(1.7, 1.0, 0), (1.0, 1.0, 0), (1.0, 0.9, 0), (1.0, 1.0, 9)]):
        asked = [Request(prompt(1 + n % MAX_PROMPT, seed), (seed, TRAIN, 0, n, 0, 0)) for n in range(5 + 11 * seed)]
        draw(made, asked, Sampling(temperature, top_p, top_k, BUDGET))
    shapes = SamplerShapes(made.config, 1, MAX_PROMPT, BUDGET)
    assert 3 < traces(sampler.decode_chunk) <= len(shapes.slots) * len(shapes.columns) == 12
    assert traces(sampler.prefill) <= len(shapes.prompts) * len(shapes.prompt_columns(forks=False)) == 9


def test_each_distinct_prompt_is_prefilled_once():
    made = engine(slots=3)  # refilled many times, and the repeats of a prompt do not start together
    draw(made, [REQUESTS[1], *REQUESTS])
    _, counts, _ = made.meter.take()
    assert counts["prefill_tokens"] == sum(len(ids) for ids in {request.prompt.ids for request in REQUESTS})


def test_meters_count_what_was_drawn(plain):
    made = engine()
    draw(made)
    _, counts, _ = made.meter.take()
    assert counts["tokens"] == sum(len(response.tokens) for response in plain)
    assert counts["tokens"] <= counts["slot_steps"] < counts["decode_steps"] * 8  # the tail moves to fewer slots
    assert 0 < counts["tail_slot_steps"] < counts["slot_steps"]


def test_first_tokens_are_distributed_as_the_softmax_says():
    n = 2048
    asked = [Request(prompt(5), (7, TRAIN, 0, index % 64, 0, index // 64)) for index in range(n)]
    responses = draw(engine(slots=16), asked, Sampling(TEMPERATURE, 1.0, 0, 1))
    drawn_V = np.bincount([int(response.tokens[0]) for response in responses], minlength=50)
    expected_V = n * np.exp(scores(asked[:1], responses[:1])[0][0])
    chi_square = ((drawn_V - expected_V) ** 2 / expected_V).sum()
    assert chi_square < 49 + 5 * np.sqrt(2 * 49)  # 49 degrees of freedom: mean 49, standard deviation 9.9


def test_a_prompt_over_the_budget_is_refused():
    with pytest.raises(ValueError, match="a prompt has 10 tokens, the budget is 9"):
        draw(engine(), [Request(prompt(10), (0,) * 6)])


def test_sampling_before_loading_is_refused():
    made = engine()
    made.unload()
    with pytest.raises(RuntimeError, match="before Engine.load"):
        draw(made)


def test_bfloat16_stays_near_the_float32_scorer_and_its_log_probs_are_not_quantised():
    made = Engine(
        tiny.ARCH,
        ModelConfig(compute_dtype="bfloat16", attention="xla"),
        EngineConfig(**LAYOUT),
        tiny.mesh(),
        STOP_IDS,
        max_prompt=MAX_PROMPT,
    )
    made.load(tiny.params())
    responses = draw(made)
    off = [
        np.abs(response.behaviour_logp - at(logp_RV, response.tokens))
        for response, logp_RV in zip(responses, scores(REQUESTS, responses), strict=True)
    ]
    assert 1e-6 < np.concatenate(off).mean() < 0.02
    recorded = np.concatenate([response.behaviour_logp for response in responses])
    assert np.mean(recorded == recorded.astype(jnp.bfloat16).astype(np.float32)) < 0.1
