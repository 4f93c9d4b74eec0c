"""Plain prompts, the hinted prompts of LTE (arXiv 2510.26109) and contexts, from the config's templates.

A hint lists wrong answers as text; to fit its budget it drops answers from the end and never cuts the problem. The
user's own text may spell special tokens, what fills it may not (tokenizer.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lte_jax.config import ConfigError, PromptConfig
from lte_jax.host.contexts import ANSWERS, PROBLEM, Told, composed, shortened, template_of
from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.host.tokenizers.tokenizer import Tokenizer
from lte_jax.records import FailureMode, Problem, Prompt


class PromptBuilder:
    """Writes prompts with one tokenizer and one set of templates. Raises ValueError for templates that cannot work."""

    def __init__(self, config: PromptConfig, tokenizer: Tokenizer):
        _require(config.text, "prompt.text", lists_answers=False)
        _require(config.hints.concise, "prompt.hints.concise", lists_answers=False)
        _require(config.hints.concise_hint, "prompt.hints.concise_hint", lists_answers=True)
        _require(config.hints.hint, "prompt.hints.hint", lists_answers=True)
        for name, template in config.contexts.items():
            if PROBLEM not in template:
                raise ValueError(f"prompt.contexts.{name} lacks {PROBLEM}, got {template!r}")
        if config.template != "plain" and tokenizer.no_chat:
            raise ValueError(f"prompt.template is {config.template}, but {tokenizer.no_chat}")
        self._config = config
        self._tokenizer = tokenizer

    def plain(self, problem: Problem) -> Prompt:
        """The prompt that every rollout of the problem is trained on. ValueError where it exceeds prompt.budget."""
        prompt = self._prompt(self._config.text, problem, ())
        if len(prompt.ids) > self._config.budget:
            raise ValueError(
                f"problem {problem.id}: its prompt has {len(prompt.ids)} tokens, more than prompt.budget = "
                f"{self._config.budget}"
            )
        return prompt

    def hinted(
        self, problem: Problem, mode: FailureMode, answers: Sequence[str]
    ) -> tuple[Prompt, tuple[str, ...]] | None:
        """The hinted prompt for a failure mode and the answers that it really lists, in the given order.

        None where the hint has no answer to list, or room for none, and nothing else to say: the plain prompt is
        used."""
        hints = self._config.hints
        listed = () if mode in (FailureMode.ALL_TRUNCATED, FailureMode.NO_ANSWER) else self._listable(answers)
        with_list = hints.concise_hint if mode is FailureMode.SOME_TRUNCATED else hints.hint
        for n in range(len(listed), 0, -1):
            prompt = self._prompt(with_list, problem, listed[:n])
            if len(prompt.ids) <= self._config.hinted_budget:
                return prompt, listed[:n]
        says_concise = mode in (FailureMode.ALL_TRUNCATED, FailureMode.SOME_TRUNCATED)
        return (self.concise(problem), ()) if says_concise else None

    def concise(self, problem: Problem) -> Prompt:
        """The hint that lists nothing. ValueError where it exceeds prompt.hinted_budget."""
        prompt = self._prompt(self._config.hints.concise, problem, ())
        if len(prompt.ids) > self._config.hinted_budget:
            raise ValueError(
                f"problem {problem.id}: its hint without any answer has {len(prompt.ids)} tokens, more than "
                f"prompt.hinted_budget = {self._config.hinted_budget}"
            )
        return prompt

    def context(self, name: str, problem: Problem, told: Told, budget: int = 0) -> Prompt | None:
        """The prompt of a context, or None where something that its template wants is not there, or where it does not
        fit: entries of lists are dropped from the end, all but one, then the attempt is shortened from its middle.

        `budget`: tokens; 0: prompt.hinted_budget."""
        template, most = self.template(name), budget or self._config.hinted_budget
        if told.lacks(template):
            return None

        def made(told: Told) -> Prompt | None:
            prompt = self._composed(template, problem, told)
            return prompt if len(prompt.ids) <= most else None

        while (prompt := made(told)) is None:
            longest = max(("answers", "notes"), key=lambda field: len(getattr(told, field)))
            if len(getattr(told, longest)) < 2:
                return _longest(made, told)
            told = replace(told, **{longest: getattr(told, longest)[:-1]})
        return prompt

    def template(self, name: str) -> str:
        """Of a context. Raises ConfigError for one that nobody wrote."""
        return template_of(name, self._config.contexts)

    def response(self, text: str) -> tuple[int, ...]:
        """A response that is given as text, special tokens where it spells them, and the token that ends it, unless it
        spells that itself: after a chat template the turn's. ValueError where it goes on after one that ends it."""
        stop_ids = self._tokenizer.stop_ids
        ids = self._tokenizer.read([Part(text, trusted=True)])
        if stops := [place for place, token in enumerate(ids[:-1]) if token in stop_ids]:
            spelling = self._tokenizer.spelling(ids[stops[0]])
            raise ValueError(f"token {stops[0]} of {len(ids)} is {spelling!r}, which ends a response: wanted it last")
        return tuple(ids) if ids and ids[-1] in stop_ids else (*ids, stop_ids[0 if self._is_plain else -1])

    def beginning(self, text: str) -> tuple[int, ...]:
        """The tokens of a response that is not finished; no special ones, whatever it spells."""
        return tuple(self._tokenizer.encode(text))

    def n_tokens(self, tokens: Sequence[int], text: str) -> int:
        """How many of a response's tokens spell no more than its beginning `text`."""
        tokens, low, high = list(map(int, tokens)), 0, len(tokens)
        while low < high:  # `low` tokens spell no more
            middle = (low + high + 1) // 2
            fits = len(self._tokenizer.decode(tokens[:middle])) <= len(text)
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _listable(self, answers: Sequence[str]) -> tuple[str, ...]:
        """Each answer on one line, without repeats; long ones left out, then at most hints.max_answers."""
        one_line = dict.fromkeys(" ".join(answer.split()) for answer in answers)
        fitting = [answer for answer in one_line if 0 < len(answer) <= self._config.hints.max_answer_chars]
        return tuple(fitting[: self._config.hints.max_answers])

    @property
    def _is_plain(self) -> bool:
        return self._config.template == "plain"

    def _prompt(self, template: str, problem: Problem, answers: Sequence[str]) -> Prompt:
        return self._composed(template, problem, Told(answers=tuple(answers)))

    def _composed(self, template: str, problem: Problem, told: Told) -> Prompt:
        parts = composed(template, problem.text, told, self._config.hints.separator)
        if not self._is_plain:
            return self._tokenizer.chat(parts, self._config.system, self._config.enable_thinking)
        ids, bos = self._tokenizer.read(parts), self._tokenizer.bos_ids
        starts_with_bos = tuple(ids[: len(bos)]) == bos  # the template spells it
        return Prompt("".join(part.text for part in parts), (*(() if starts_with_bos else bos), *ids))


def _longest(made: Callable[[Told], Prompt | None], told: Told) -> Prompt | None:
    """The prompt with as much of the attempt as fits; None where it does not fit without any."""
    low, high, found = 0, len(told.attempt), None
    while low + 1 < high:  # `low` characters fit, or nothing does; `high` do not
        middle = (low + high) // 2
        prompt = made(replace(told, attempt=shortened(told.attempt, middle)))
        low, high, found = (middle, high, prompt) if prompt else (low, middle, found)
    return found


def fill(template: str, problem: str, answers: str = "") -> str:
    """The text of a template, of answers that are one text already."""
    return "".join(part.text for part in composed(template, problem, Told(answers=(answers,)), ""))


def _require(template: str, field: str, lists_answers: bool) -> None:
    for placeholder in (PROBLEM, ANSWERS) if lists_answers else (PROBLEM,):
        if placeholder not in template:
            raise ValueError(f"{field} lacks {placeholder}, got {template!r}")
    if not lists_answers and ANSWERS in template:
        raise ValueError(f"{field} lists no answers, but holds {ANSWERS}: {template!r}")


def chat_template(prompt: PromptConfig) -> str | None:
    """The text of `prompt.file`; None: the tokenizer's own template, or none."""
    if prompt.template != "file":
        return None
    try:
        return Path(prompt.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt.file = {prompt.file}: cannot read the template: {error}") from None
