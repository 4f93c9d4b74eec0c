"""The host records: what a problem, a rollout and a group are. Plain values, standard library only.

The subtle fact of the method stands in the types: the plain prompt belongs to the group; behaviour log-probs belong to
the rollout, under the prompt that it was sampled from (`Rollout.prompt`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any


class PassLevel(StrEnum):
    """How many of a group's decided rollouts are correct."""

    NONE = "none_pass"
    SOME = "some_pass"
    ALL = "all_pass"


class FailureMode(StrEnum):
    """Why a none-pass group failed, by how many of its rollouts were truncated (arXiv 2510.26109)."""

    ALL_TRUNCATED = "all_truncated"
    SOME_TRUNCATED = "some_truncated"
    NONE_TRUNCATED = "none_truncated"
    NO_ANSWER = "no_answer"  # nothing truncated and no wrong answer to list: retried on the plain prompt


class Origin(StrEnum):
    """Which prompt a rollout was sampled from, and when."""

    PLAIN = "plain"  # first round, plain prompt
    EXTRA = "extra"  # drawn after diagnosis, plain prompt: on-policy
    HINTED = "hinted"  # drawn after diagnosis, hinted prompt: off-policy
    TRACE = "trace"  # not drawn: a worked solution that came with the problem: off-policy


class NoVerdictError(RuntimeError):
    """Nothing was graded where something should have been. The message says why a verdict is missing."""


class Kind(IntEnum):
    """As what a token of a response is trained. One that is not leaves the loss mask and every normaliser."""

    UNTRAINED = 0
    ON_POLICY = 1  # drawn by this policy under the context that it is trained on
    OFF_POLICY = 2  # drawn under another context, or by another policy
    SUPERVISED = 3  # its likelihood is raised, whoever wrote it


class Context(StrEnum):
    """On which prompt a response is trained."""

    GROUP = "group"  # the group's plain prompt
    OWN = "own"  # the prompt that it was drawn from


class Purpose(StrEnum):
    """What the texts of a further round are for."""

    SOLUTION = "solution"  # graded, and may become members
    NOTE = "note"  # read by the strategy alone: not graded, so neither right nor a failure


class Status(StrEnum):
    """Why a verdict is what it is."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NO_ANSWER = "no_answer"  # nothing in the response looks like a final answer
    UNPARSABLE = "unparsable"  # an answer was found, but it cannot be read
    TOO_LARGE = "too_large"  # past a cap on depth, nodes or digits; does not depend on load
    BAD_GOLD = "bad_gold"  # the reference itself cannot be read
    TIMEOUT = "timeout"  # no verdict
    CRASH = "crash"  # no verdict


@dataclass(frozen=True)
class Verdict:
    """What the verifier says of one response. `decided` is False where it could say nothing; `reason` says why then."""

    correct: bool
    status: Status
    gold: str
    extracted: str | None = None  # the answer that was found, as written
    rule: str | None = None  # which extraction rule found it
    seconds: float = 0.0
    shaped: float | None = None  # the number that a custom reward gave; None: 1 where correct, else 0
    reason: str = ""

    @property
    def reward(self) -> float:
        return float(self.correct) if self.shaped is None else self.shaped

    @property
    def decided(self) -> bool:
        return self.status not in (Status.TIMEOUT, Status.CRASH)


@dataclass(frozen=True)
class Problem:
    """A question with its reference answer. `trace`: a worked solution, or empty."""

    id: str
    text: str
    answer: str
    trace: str = ""


@dataclass(frozen=True)
class Prompt:
    """A prompt as text and as the tokens that are conditioned on."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A problem of a step, the form in which it is asked, and how many rollouts its first round has.

    `seen`: what is remembered of its first rounds in earlier steps, oldest first: 1 right, 0 wrong.
    """

    problem: Problem
    prompt: Prompt  # what the group is sampled from and trained on
    n: int
    seen: str = ""


@dataclass(frozen=True)
class Annealing:
    """A temperature by place in the response (EAD, arXiv 2510.05251): the token after `t` others is drawn at
    max(high - expm1(t / decay), low), each of the first `after` tokens at the policy's own temperature."""

    high: float
    low: float
    decay: float  # tokens
    after: int  # tokens


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `response_budget`: tokens, stop token included."""

    temperature: float  # the policy's: what behaviour_logp and ratios are taken at
    top_p: float
    top_k: int
    response_budget: int
    annealing: Annealing | None = None  # None: every token at `temperature`


@dataclass(frozen=True)
class Span:
    """Neighbouring tokens of a response that are trained as the same kind."""

    n: int  # tokens
    kind: Kind


@dataclass(frozen=True)
class Given:
    """What a response begins with before anything is drawn: tokens with the log-probs that their ratios use."""

    tokens: tuple[int, ...]
    behaviour_logp: tuple[float, ...]
    sampled_logp: tuple[float, ...]
    kinds: tuple[Span, ...]  # what they are trained as; together as long as the tokens
    whole: bool = False  # the response ends with them: nothing is drawn

    @classmethod
    def written(cls, tokens: Sequence[int], kind: Kind, whole: bool = False) -> "Given":
        """Tokens that this policy did not draw. They have probability 1, as LUFFY takes them (arXiv 2504.14945)."""
        certain = (0.0,) * len(tokens)
        return cls(tuple(tokens), certain, certain, (Span(len(tokens), kind),), whole)

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Request:
    """One response to draw. `key`: seed, stream, step, group, round, index. `given`: what it begins with."""

    prompt: Prompt
    key: tuple[int, int, int, int, int, int]
    given: Given | None = None

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """All tokens that are there before the first is drawn."""
        return (*self.prompt.ids, *self.given.tokens) if self.given else self.prompt.ids

    @property
    def n_given(self) -> int:
        return len(self.given) if self.given else 0


@dataclass(frozen=True, eq=False)
class Response:
    """What was given and drawn for a request: one entry per response token, the stop token included."""

    tokens: Sequence[int]
    behaviour_logp: Sequence[float]  # log softmax(logits / temperature), no truncation
    sampled_logp: Sequence[float]  # of what it was drawn from: at the place's own temperature, after top-p and top-k
    truncated: bool  # used the whole response budget without a stop token

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Rollout:
    """One response of a group."""

    prompt: Prompt  # sampled from this one; for a hinted rollout not the group's plain prompt
    origin: Origin
    round: int
    index: int  # 0 … within its round
    response: Response
    text: str
    verdict: Verdict | None = None  # None: not yet graded
    trained_on: Context = Context.GROUP
    kinds: tuple[Span, ...] = ()  # from the first token on; empty: all tokens are what the origin says
    n_given: int = 0  # tokens that were there before the first was drawn
    verified: Verdict | None = None  # what the verifier said, where the verdict is a label

    @property
    def off_policy(self) -> bool:
        """Whether it was drawn under another context than it is trained on, or by another policy."""
        return self.origin is Origin.TRACE or (self.origin is Origin.HINTED and self.trained_on is Context.GROUP)

    @property
    def spans(self) -> tuple[Span, ...]:
        """What its tokens are trained as; together as long as the response."""
        return self.kinds or (Span(len(self.response), self.drawn_kind),)

    @property
    def drawn_kind(self) -> Kind:
        """What its drawn tokens are trained as, by its origin."""
        return Kind.OFF_POLICY if self.off_policy else Kind.ON_POLICY

    def beginning(self, n: int) -> Given:
        """Its first n tokens as they were recorded, to be continued. They are trained as in this rollout; but drawn
        and trained on a prompt of its own, they are off-policy on any other."""
        response, kinds, n_left = self.response, [], n
        for span in self.spans:
            if taken := min(span.n, n_left):
                elsewhere = self.trained_on is Context.OWN and span.kind is Kind.ON_POLICY
                kinds.append(Span(taken, Kind.OFF_POLICY if elsewhere else span.kind))
                n_left -= taken
        behaviour, sampled = (tuple(map(float, logp[:n])) for logp in (response.behaviour_logp, response.sampled_logp))
        return Given(tuple(map(int, response.tokens[:n])), behaviour, sampled, tuple(kinds))

    @property
    def decided(self) -> bool:
        return self.verdict is not None and self.verdict.decided

    @property
    def correct(self) -> bool:
        return self.verdict is not None and self.verdict.correct


@dataclass(frozen=True)
class Part:
    """Responses to one prompt: `n` of them. `given`: what each of them begins with."""

    prompt: Prompt
    n: int
    given: Given | None = None

    @property
    def is_drawn(self) -> bool:
        return self.given is None or not self.given.whole


@dataclass(frozen=True)
class Retry:
    """What a strategy wants for a group next, in one round."""

    parts: tuple[Part, ...]
    origin: Origin
    mode: FailureMode | None  # None: not asked for because of failures
    answers: tuple[str, ...] = ()  # the wrong answers that the hint lists
    purpose: Purpose = Purpose.SOLUTION

    @classmethod
    def of(
        cls, prompt: Prompt, n: int, origin: Origin, mode: FailureMode | None, answers: tuple[str, ...] = ()
    ) -> "Retry":
        """n graded responses to one prompt."""
        return cls((Part(prompt, n),), origin, mode, answers)

    @property
    def n(self) -> int:
        return sum(part.n for part in self.parts)

    @property
    def prompt(self) -> Prompt:
        """The first part's."""
        return self.parts[0].prompt


@dataclass(frozen=True, eq=False)
class Attempt:
    """One further round: what was asked for and what came of it, in the order of the parts."""

    retry: Retry
    rollouts: tuple[Rollout, ...]

    @property
    def is_note(self) -> bool:
        return self.retry.purpose is Purpose.NOTE


# One number for all tokens of a response, or (first token, value) of each segment from which another value holds.
Advantage = float | tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Lesson:
    """A response that is no member of its group but trained by its likelihood, whoever wrote it."""

    prompt: Prompt  # what it is trained on
    tokens: tuple[int, ...]
    weight: float = 1.0
    train_from: int = 0  # tokens before this one are only read


@dataclass(frozen=True, eq=False)
class Group:
    """The rollouts of one problem in one step."""

    problem: Problem
    prompt: Prompt  # the plain prompt: what every member is trained on
    step: int
    index: int  # of the group in the step
    initial: tuple[Rollout, ...]  # the first round: G, or as many as curriculum and strategy wanted
    members: tuple[Rollout, ...]  # as many, which are trained, after mixing
    attempts: tuple[Attempt, ...] = ()  # every further round, notes too
    advantages: tuple[Advantage | None, ...] = ()  # one per member; None: no verdict, or filtered: not in the update
    entropy_scale: float = 0.0  # where rewards are equal and token entropy makes the advantage: +-its scale (RL-ZVP)
    lessons: tuple[Lesson, ...] = ()
    decisions: Mapping[str, Any] = field(default_factory=dict)  # what a clock could have changed; plain JSON
    # one per member, {} without a verdict: what was measured of it before advantages, by name: a number or an array
    features: tuple[Mapping[str, Any], ...] = ()
    seen: str = ""  # as in the plan that it was made for

    @property
    def retries(self) -> tuple[Attempt, ...]:
        """The further rounds that were graded."""
        return tuple(attempt for attempt in self.attempts if not attempt.is_note)

    @property
    def notes(self) -> tuple[Rollout, ...]:
        return tuple(rollout for attempt in self.attempts if attempt.is_note for rollout in attempt.rollouts)
