"""The built-in verifiable task, `( a + b ) * c` mod 13, and the examples that its base model is pretrained on.

The examples believe each fact s * c of the times table to a degree, so that right answers are latent behind favourite
wrong ones; a hint in it says nothing beyond elimination. Everything is text: the task takes the path of real problems.
"""

import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lte_jax.config import HintConfig, PromptConfig, WarmupConfig
from lte_jax.host.prompts import fill
from lte_jax.host.tokenizers.tokenizer import SENTENCEPIECE_FILE
from lte_jax.records import Problem

MODULUS = 13
WORDS = ("(", ")", "+", "*", "=", ";", "A:", "not", "short", "\\boxed{", "}", *map(str, range(MODULUS)))
PAD_ID, STOP_ID, UNKNOWN_ID = 0, 1, 2  # WORDS have the ids 3 and up

# Tokens, stop included: a solution takes 16; one that repeats its first step at least twice would take 28 or more.
RESPONSE_BUDGET = 24
MAX_LISTED = 8
PROMPTS = PromptConfig(
    text="{problem} A:",
    budget=8,
    hinted_budget=18,
    hints=HintConfig(
        concise="{problem} short A:",
        concise_hint="{problem} short not {answers} A:",
        hint="{problem} not {answers} A:",
        separator=" ",
        max_answers=MAX_LISTED,
        leak_patterns=(r"\bnot\b", r"\bshort\b"),
    ),
)

# One row per level of knowledge: share of the 132 facts, range of the right answer's probability (log-uniform), and how
# many facts of the level RL never sees.
LEVELS = ((0.30, 1.0, 1.0, 4), (0.15, 0.25, 0.25, 2), (0.25, 1e-3, 6e-3, 3), (0.30, 1e-4, 8e-4, 3))
FAVOURITES = (0.58, 0.42)  # how two confident wrong answers share what is left
TAIL = 0.375  # each of two thin wrong answers, relative to the right one; together at most MAX_TAIL
MAX_TAIL = 0.1
RAMBLES = {7: 0.9, 8: 0.9, 3: 0.6}  # first operand -> share of solutions that repeat their first step until cut off
RAMBLES_ELSE = 0.05
CONCISE_ALONE_FRAC = 0.4  # share of the examples that say `short` which list no answer
N_TRAIN, N_HELDOUT, N_HELDOUT_FACTS = 465, 279, 62  # problems; the other 1053 of the 1859 are pretraining's

Triple = tuple[int, int, int]


class Task:
    """Beliefs, problems and splits, all drawn from one seed.

    `splits` maps a name to its (a, b, c): `warmup` is pretraining's, `train` RL's, `heldout` has new problems whose
    facts (s, c) `train` uses too, `heldout_facts` has new problems whose facts neither of them uses (pretraining does:
    what is latent must be in it). A problem and its mirror (b + a) lie in the same split.
    """

    def __init__(self, seed: int):
        self.seed = seed
        rng = np.random.default_rng([seed, 13])
        self.belief, unseen_facts = _beliefs(rng)  # [s, c, answer]: probability
        self.unseen_facts = frozenset(unseen_facts)
        self.splits = _splits(rng, self.unseen_facts)

    def problems(self, split: str) -> list[Problem]:
        """The problems of a split, in an order drawn from the seed."""
        return [
            Problem(f"{a}+{b}*{c}", f"( {a} + {b} ) * {c}", str(_answer(a, b, c))) for a, b, c in self.splits[split]
        ]

    def write(self, folder: str | Path) -> None:
        """Writes train.jsonl, heldout.jsonl and heldout_facts.jsonl."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for split in ("train", "heldout", "heldout_facts"):
            rows = [{"id": p.id, "problem": p.text, "answer": p.answer} for p in self.problems(split)]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (Path(folder) / f"{split}.jsonl").write_text(lines, encoding="utf-8")

    def pass_rate(self, triple: Triple, listed: Iterable[int] = (), concise: bool = False) -> float:
        """The share of right, finished responses of a model that believes the examples, under a hint with this list."""
        a, b, c = triple
        left = self.belief[(a + b) % MODULUS, c].copy()
        left[list(listed)] = 0
        right = left[_answer(a, b, c)] / left.sum() if left.sum() else 0.0
        return float(right * (1 if concise else 1 - RAMBLES.get(a, RAMBLES_ELSE)))

    def warmup_examples(self, rng: np.random.Generator, n: int, config: WarmupConfig) -> list[tuple[str, str, bool]]:
        """n examples for pretraining: prompt, response, and whether the response ends (else it was cut)."""
        book = np.array(self.splits["warmup"])
        a, b, c = book[rng.integers(len(book), size=n)].T
        belief, right = self.belief[(a + b) % MODULUS, c], _answer(a, b, c)
        hinted = rng.random(n) < config.hinted_frac
        concise = hinted & (rng.random(n) < config.concise_frac)
        has_list = hinted & ~(concise & (rng.random(n) < CONCISE_ALONE_FRAC))
        drawn = _drawn_lists(rng, belief, right, config.random_list_frac)
        drawn[~has_list] = -1
        left = belief * ~_holds(drawn)
        # A list of all that is believed would leave nothing to answer: it then spares the right answer.
        drawn[(left.sum(1) == 0)[:, None] & (drawn == right[:, None])] = -1
        answer = _draw(rng, belief * ~_holds(drawn))
        rambles = ~concise & (rng.random(n) < np.array([RAMBLES.get(x, RAMBLES_ELSE) for x in range(MODULUS)])[a])
        n_repeats = rambles * rng.integers(2, 5, size=n)
        columns = (x.tolist() for x in (a, b, c, drawn, concise, answer, n_repeats))
        return [_example(*row) for row in zip(*columns, strict=True)]


def step_scores(problem: Problem, steps: Sequence[str]) -> list[float]:
    """1 for each step of a response that is right by itself, 0 for `7 + 5 = 3`. Exact; steps are parted by `;`."""
    claims = (re.fullmatch(r"(\d{1,4}) ([+*]) (\d{1,4}) = (\d{1,4})", step.strip()) for step in steps)
    return [float(claim is None or _holds_true(*claim.groups())) for claim in claims]


def _holds_true(left: str, operator: str, right: str, result: str) -> bool:
    value = int(left) + int(right) if operator == "+" else int(left) * int(right)
    return value % MODULUS == int(result)


def make_tokenizer(folder: str | Path) -> None:
    """Writes the task's SentencePiece model, tokenizer.model: one token per word, the same bytes every time."""
    import sentencepiece

    # Ids follow the word count in the training text: word i comes len(WORDS) - i times.
    text = (word for i, word in enumerate(WORDS) for _ in range(len(WORDS) - i))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=text,
        model_writer=model,
        model_type="word",
        vocab_size=len(WORDS) + 3,
        pad_id=PAD_ID,
        eos_id=STOP_ID,
        unk_id=UNKNOWN_ID,
        bos_id=-1,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / SENTENCEPIECE_FILE).write_bytes(model.getvalue())


def _answer(a, b, c):
    return (a + b) * c % MODULUS


def _beliefs(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """What the examples believe of s * c: [s, c, answer], and the facts that RL never sees.

    0 * c is known; 1 is no second factor. Of the others, each level of LEVELS has its share."""
    belief = np.zeros((MODULUS, MODULUS, MODULUS))
    belief[0, 2:, 0] = 1
    facts = [(s, c) for s in range(1, MODULUS) for c in range(2, MODULUS)]
    facts = [facts[i] for i in rng.permutation(len(facts))]
    ends = np.round(np.cumsum([share for share, *_ in LEVELS]) * len(facts)).astype(int)
    unseen: list[tuple[int, int]] = []
    for (_, low, high, n_unseen), start, end in zip(LEVELS, [0, *ends], ends, strict=False):
        unseen += facts[start : start + n_unseen]
        for s, c in facts[start:end]:
            right = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            belief[s, c] = _belief(rng, s * c % MODULUS, right)
    return belief, unseen


def _belief(rng: np.random.Generator, answer: int, right: float) -> np.ndarray:
    """A distribution over answers: the right one, two favourites and a thin tail of two."""
    belief = np.zeros(MODULUS)
    belief[answer] = right
    if right < 1:
        tail = min(2 * TAIL * right, MAX_TAIL)
        wrong = rng.permutation([x for x in range(MODULUS) if x != answer])
        belief[wrong[:2]] = (1 - right - tail) * np.array(FAVOURITES)
        belief[wrong[2:4]] = tail / 2
    return belief


def _splits(rng: np.random.Generator, unseen_facts: frozenset) -> dict[str, list[Triple]]:
    mirrors = [(a, b, c) for a in range(MODULUS) for b in range(a, MODULUS) for c in range(2, MODULUS)]
    mirrors = [mirrors[i] for i in rng.permutation(len(mirrors))]
    heldout_facts = _fill([x for x in mirrors if _fact(x) in unseen_facts], N_HELDOUT_FACTS)
    train = _fill([x for x in mirrors if _fact(x) not in unseen_facts], N_TRAIN)
    practised = {_fact(x) for x in train}
    heldout = _fill([x for x in mirrors if _fact(x) in practised and x not in train], N_HELDOUT)
    elsewhere = {*heldout_facts, *train, *heldout}
    chosen = {
        "warmup": [x for x in mirrors if x not in elsewhere],
        "train": train,
        "heldout": heldout,
        "heldout_facts": heldout_facts,
    }
    splits = {}
    for name, pairs in chosen.items():
        triples = [t for a, b, c in pairs for t in dict.fromkeys([(a, b, c), (b, a, c)])]
        splits[name] = [triples[i] for i in rng.permutation(len(triples))]
    return splits


def _fact(triple: Triple) -> tuple[int, int]:
    a, b, c = triple
    return (a + b) % MODULUS, c


def _fill(mirrors: Sequence[Triple], n: int) -> list[Triple]:
    """The first mirror pairs that hold n problems together: a pair counts two, a = b counts one."""
    chosen = []
    for a, b, c in mirrors:
        size = 1 if a == b else 2
        if size <= n:
            chosen.append((a, b, c))
            n -= size
    return chosen


def _drawn_lists(rng: np.random.Generator, belief: np.ndarray, right: np.ndarray, random_frac: float) -> np.ndarray:
    """Listed answers [n, MAX_LISTED], -1 where there is none.

    A real list is what 1 to 8 readers would have answered, without repeats; a random one is 1 to 8 of all answers. Of
    what the examples are sure of there are no failures: such a list is random too, without the right answer."""
    n = len(belief)
    rows = np.arange(n)
    readers = np.stack([_draw(rng, belief) for _ in range(MAX_LISTED)], axis=1)
    repeats = (readers[:, :, None] == readers[:, None, :]) & np.tri(MAX_LISTED, k=-1, dtype=bool)
    readers[repeats.any(2)] = -1
    certain = belief[rows, right] == 1
    order = rng.random((n, MODULUS))
    order[rows[certain], right[certain]] = 2  # after all others, and 8 of them are taken at most
    random = order.argsort(1)[:, :MAX_LISTED]
    drawn = np.where(((rng.random(n) < random_frac) | certain)[:, None], random, readers)
    drawn[np.arange(MAX_LISTED) >= rng.integers(1, MAX_LISTED + 1, size=(n, 1))] = -1
    return drawn


def _holds(lists: np.ndarray) -> np.ndarray:
    """[n, MODULUS], True where the row's list holds the answer."""
    return (lists[:, :, None] == np.arange(MODULUS)).any(1)


def _draw(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """One column index per row, with probability proportional to its weight; never one of weight 0."""
    total = weights.cumsum(1)
    return (total <= rng.random((len(weights), 1)) * total[:, -1:]).sum(1)


def _example(
    a: int, b: int, c: int, listed: list[int], concise: bool, answer: int, n_repeats: int
) -> tuple[str, str, bool]:
    answers = " ".join(str(x) for x in listed if x >= 0)
    hints = PROMPTS.hints
    if answers:
        template = hints.concise_hint if concise else hints.hint
    else:
        template = hints.concise if concise else PROMPTS.text
    s = (a + b) % MODULUS
    words = f"{a} + {b} = {s} ; " * (1 + n_repeats) + f"{s} * {c} = {answer} ; \\boxed{{ {answer} }}"
    finished = not n_repeats
    if not finished:
        words = " ".join(words.split()[:RESPONSE_BUDGET])
    return fill(template, f"( {a} + {b} ) * {c}", answers), words, finished
