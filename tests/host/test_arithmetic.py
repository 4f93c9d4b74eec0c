"""The built-in task: right answers, clean splits, latent answers, and hints that say nothing but elimination."""

import time
from collections import Counter

import numpy as np
import pytest

from lte_jax.config import WarmupConfig
from lte_jax.host.problems import load_problems
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.tokenizers.tokenizer import open_tokenizer
from lte_jax.records import FailureMode, Problem
from lte_jax.toy.arithmetic import LEVELS, MODULUS, PROMPTS, RESPONSE_BUDGET, STOP_ID, WORDS, Task, make_tokenizer

SEEDS = (0, 1, 2, 3, 4)
CONFIG = WarmupConfig()
N = 40_000


@pytest.fixture(scope="module", params=SEEDS)
def task(request):
    return Task(request.param)


@pytest.fixture(scope="module")
def corpus():
    """(a, b, c), words of the hint, response words, finished: of N textbook examples of seed 0."""
    rows = Task(0).warmup_examples(np.random.default_rng(5), N, CONFIG)
    parsed = []
    for prompt, response, finished in rows:
        words = prompt.split()
        assert words[0::2][:4] == ["(", "+", ")", words[6]] and words[5] == "*" and words[-1] == "A:"
        parsed.append(((int(words[1]), int(words[3]), int(words[6])), words[7:-1], response.split(), finished))
    return parsed


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return open_tokenizer(folder)


def listed(hint):
    return [int(word) for word in hint if word not in ("short", "not")]


def fact(a, b, c):
    return (a + b) % MODULUS, c


def test_the_splits_cover_every_problem_once(task):
    assert {name: len(triples) for name, triples in task.splits.items()} == {
        "warmup": 1053,
        "train": 465,
        "heldout": 279,
        "heldout_facts": 62,
    }
    every = [triple for triples in task.splits.values() for triple in triples]
    assert len(every) == len(set(every)) == 13 * 13 * 11


def test_mirrors_lie_in_one_split(task):
    home = {triple: name for name, triples in task.splits.items() for triple in triples}
    assert all(home[b, a, c] == name for (a, b, c), name in home.items())


def test_facts_of_the_second_heldout_set_are_the_textbook_s_alone(task):
    used = {name: {fact(*triple) for triple in triples} for name, triples in task.splits.items()}
    assert used["heldout_facts"] == task.unseen_facts <= used["warmup"]
    assert not task.unseen_facts & (used["train"] | used["heldout"])
    assert len(task.unseen_facts) == 12 and all(s != 0 for s, _ in task.unseen_facts)
    assert used["heldout"] <= used["train"]


def test_problems_carry_the_right_answer(task):
    for name, triples in task.splits.items():
        for (a, b, c), problem in zip(triples, task.problems(name), strict=True):
            assert problem == Problem(f"{a}+{b}*{c}", f"( {a} + {b} ) * {c}", str((a + b) * c % 13))


def test_everything_derives_from_the_seed():
    one, same, other = Task(3), Task(3), Task(4)
    assert one.splits == same.splits and one.splits != other.splits
    assert np.array_equal(one.belief, same.belief) and not np.array_equal(one.belief, other.belief)
    examples = [t.warmup_examples(np.random.default_rng(8), 50, CONFIG) for t in (one, same)]
    assert examples[0] == examples[1] != one.warmup_examples(np.random.default_rng(9), 50, CONFIG)


def test_beliefs_are_distributions_with_the_recipe_s_shares(task):
    facts = [(s, c) for s in range(1, 13) for c in range(2, 13)]
    beliefs = np.array([task.belief[fact] for fact in facts])
    right = np.array([task.belief[s, c, s * c % 13] for s, c in facts])
    np.testing.assert_allclose(beliefs.sum(1), 1)
    np.testing.assert_allclose(task.belief[0, 2:, 0], 1)
    ranges = ((1, 1), (0.2499, 0.2501), (0.001, 0.006), (0.0001, 0.0008))
    counts = [int(((low <= right) & (right <= high)).sum()) for low, high in ranges]
    assert counts == [40, 19, 33, 40] or np.allclose(counts, [share * 132 for share, *_ in LEVELS], atol=1)
    latent = beliefs[right < 0.01]
    top_two = np.sort(latent, axis=1)[:, -2:]
    np.testing.assert_allclose(top_two, [[0.42, 0.58]] * len(latent), atol=0.01)
    assert ((latent > 0).sum(1) == 5).all()


def test_once_the_favourites_are_listed_the_right_answer_is_the_likeliest(task):
    for a, b, c in task.splits["train"]:
        belief = task.belief[fact(a, b, c)]
        right = (a + b) * c % 13
        favourites = [x for x in np.argsort(belief)[-2:] if x != right]
        if belief[right] < 0.3:
            assert 0.5 < task.pass_rate((a, b, c), favourites, concise=True) < 0.8


def test_about_half_of_the_rl_problems_are_none_pass_for_a_reader_of_the_textbook(task):
    none_pass = np.mean([(1 - task.pass_rate(triple)) ** 8 for triple in task.splits["train"]])
    assert 0.4 <= none_pass <= 0.6


def test_pass_rate_is_belief_after_deletion_times_not_rambling():
    task = Task(0)
    known = {t: task.belief[fact(*t)][(t[0] + t[1]) * t[2] % 13] for t in task.splits["train"]}
    a, b, c = next(t for t, right in known.items() if t[0] == 7 and 0.2 < right < 0.3)
    belief, right = task.belief[fact(a, b, c)], (a + b) * c % 13
    favourite = int(np.argmax(belief))
    assert task.pass_rate((a, b, c)) == pytest.approx(0.25 * 0.1)
    assert task.pass_rate((a, b, c), concise=True) == pytest.approx(0.25)
    assert task.pass_rate((a, b, c), [favourite], concise=True) == pytest.approx(0.25 / (1 - belief[favourite]))
    assert task.pass_rate((a, b, c), [right]) == 0


def test_written_files_load_as_problem_files(tmp_path):
    task = Task(2)
    task.write(tmp_path / "task")
    for name in ("train", "heldout", "heldout_facts"):
        assert load_problems(tmp_path / "task" / f"{name}.jsonl") == task.problems(name)
    assert not (tmp_path / "task" / "warmup.jsonl").exists()


def test_solutions_show_right_first_steps_and_end_in_the_believed_answer(corpus):
    belief = Task(0).belief
    for (a, b, c), hint, response, finished in corpus:
        s = (a + b) % 13
        assert response[:6] == [str(a), "+", str(b), "=", str(s), ";"]
        if finished:
            answer = response[10]
            assert response[6:] == [str(s), "*", str(c), "=", answer, ";", "\\boxed{", answer, "}"]
            assert belief[s, c, int(answer)] > 0 and int(answer) not in listed(hint)
        else:
            assert len(response) == RESPONSE_BUDGET and "\\boxed{" not in response and response[6:12] == response[:6]


def test_only_textbook_problems_are_in_the_corpus(corpus):
    assert {triple for triple, *_ in corpus} == set(Task(0).splits["warmup"])


def test_rambling_follows_the_first_operand_and_never_a_concise_hint(corpus):
    cut = {operands: [] for operands in ("7 8", "3", "other")}
    for (a, _, _), hint, _, finished in corpus:
        if "short" in hint:
            assert finished
        else:
            cut["7 8" if a in (7, 8) else "3" if a == 3 else "other"].append(not finished)
    rates = {operands: np.mean(flags) for operands, flags in cut.items()}
    assert rates == pytest.approx({"7 8": 0.9, "3": 0.6, "other": 0.05}, abs=0.03)


def test_the_mix_of_hints_is_the_config_s(corpus):
    kinds = Counter(("short" in hint, "not" in hint) for _, hint, _, _ in corpus)
    hinted = N - kinds[False, False]
    assert hinted / N == pytest.approx(0.65, abs=0.01)
    assert (kinds[True, True] + kinds[True, False]) / hinted == pytest.approx(0.35, abs=0.01)
    assert kinds[True, False] / (kinds[True, True] + kinds[True, False]) == pytest.approx(0.4, abs=0.02)
    assert all(0 < len(set(listed(hint))) == len(listed(hint)) <= 8 for _, hint, _, _ in corpus if "not" in hint)


@pytest.mark.parametrize(("random_frac", "expected"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_random_list_frac_is_the_share_of_lists_drawn_from_all_answers(random_frac, expected):
    task = Task(0)
    config = WarmupConfig(hinted_frac=1.0, concise_frac=0.0, random_list_frac=random_frac)
    n_all, n_believed = 0, 0
    for prompt, _, _ in task.warmup_examples(np.random.default_rng(1), 20_000, config):
        words = prompt.split()
        belief = task.belief[fact(int(words[1]), int(words[3]), int(words[6]))]
        if belief.max() < 1 and len(words) > 9:
            n_all += 1
            n_believed += belief[int(words[8])] > 0  # the first listed answer: 5 of 13 believed by chance
    assert n_believed / n_all == pytest.approx(1 - expected * 8 / 13, abs=0.02)


def test_a_hinted_answer_is_drawn_from_the_belief_renormalised(corpus):
    belief = Task(0).belief
    expected, drawn = [], []
    for (a, b, c), hint, response, finished in corpus:
        left = belief[fact(a, b, c)].copy()
        left[listed(hint)] = 0
        right = (a + b) * c % 13
        if finished and "not" in hint and 0 < left[right] < left.sum():
            expected.append(left[right] / left.sum())
            drawn.append(response[10] == str(right))
    assert len(drawn) > 3000
    assert np.mean(drawn) == pytest.approx(np.mean(expected), abs=0.02)
    certain = np.array(expected) > 0.9
    assert np.mean(np.array(drawn)[~certain]) == pytest.approx(np.mean(np.array(expected)[~certain]), abs=0.02)


def test_what_the_textbook_knows_for_certain_is_never_listed_nor_missed(corpus):
    belief = Task(0).belief
    rows = [row for row in corpus if belief[fact(*row[0])].max() == 1]
    for (a, b, c), hint, response, finished in rows:
        right = (a + b) * c % 13
        assert right not in listed(hint) and (not finished or response[10] == str(right))


def test_every_list_that_a_hint_announces_is_there():
    config = WarmupConfig(hinted_frac=1.0, concise_frac=0.0)
    examples = Task(0).warmup_examples(np.random.default_rng(3), 20_000, config)
    assert all(" not " in prompt for prompt, *_ in examples)


def test_a_list_of_all_that_is_believed_spares_the_right_answer():
    task = Task(0)
    config = WarmupConfig(hinted_frac=1.0, concise_frac=0.0, random_list_frac=1.0)
    n = 0
    for prompt, response, finished in task.warmup_examples(np.random.default_rng(2), 20_000, config):
        words = prompt.split()
        a, b, c = int(words[1]), int(words[3]), int(words[6])
        believed = set(np.flatnonzero(task.belief[fact(a, b, c)]).tolist())
        unlisted = believed - set(map(int, words[8:-1]))
        assert unlisted
        if finished and unlisted == {(a + b) * c % 13}:
            n += 1
            assert response.split()[10] == str((a + b) * c % 13)
    assert n > 100


def test_every_word_is_one_token_and_ids_round_trip(tokenizer):
    assert tokenizer.vocab_size == len(WORDS) + 3
    assert (tokenizer.pad_id, tokenizer.stop_ids, tokenizer.bos_ids) == (0, (1,), ())
    assert [tokenizer.encode(word) for word in WORDS] == [[i] for i in range(3, len(WORDS) + 3)]
    assert all(tokenizer.decode([i]) == word for i, word in enumerate(WORDS, start=3))
    assert {"\\boxed{", "}", "A:", "not", "short", *map(str, range(13)), *"()+*=;"} == set(WORDS)


def test_the_tokenizer_is_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        make_tokenizer(tmp_path / name)
    assert (tmp_path / "one/tokenizer.model").read_bytes() == (tmp_path / "two/tokenizer.model").read_bytes()


def test_corpus_texts_round_trip_through_the_tokenizer_within_the_budgets(tokenizer):
    lengths = Counter()
    for prompt, response, finished in Task(1).warmup_examples(np.random.default_rng(0), 2000, CONFIG):
        assert tokenizer.decode(tokenizer.encode(prompt)) == prompt
        ids = tokenizer.encode(response) + [STOP_ID] * finished
        assert tokenizer.decode(ids) == response
        assert len(tokenizer.encode(prompt)) <= PROMPTS.hinted_budget and len(ids) <= RESPONSE_BUDGET
        lengths[finished, len(ids)] += 1
    assert set(lengths) == {(True, 16), (False, RESPONSE_BUDGET)}


def test_the_corpus_is_prompted_as_training_prompts(tokenizer):
    builder = PromptBuilder(PROMPTS, tokenizer)
    seen = Counter()
    for prompt, *_ in Task(0).warmup_examples(np.random.default_rng(0), 500, CONFIG):
        words = prompt.split()
        problem = Problem("p", " ".join(words[:7]), "0")
        answers = [word for word in words[7:-1] if word not in ("short", "not")]
        if "short" in words:
            mode = FailureMode.SOME_TRUNCATED if answers else FailureMode.ALL_TRUNCATED
        else:
            mode = FailureMode.NONE_TRUNCATED
        built = builder.hinted(problem, mode, answers)
        assert (built[0] if built else builder.plain(problem)).text == prompt
        seen[mode, bool(built)] += 1
    assert len(seen) == 4 and PROMPTS.hints.max_answers == 8


def test_a_whole_warm_up_is_drawn_in_seconds():
    task, rng = Task(0), np.random.default_rng(0)
    start = time.process_time()
    for _ in range(200):
        task.warmup_examples(rng, 64, CONFIG)
    assert time.process_time() - start < 60 * 200 / 1700  # 1700 steps within a minute of the processor's time
