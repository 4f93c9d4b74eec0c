"""The plain prompt of a problem and the hinted prompts of LTE (arXiv 2510.26109), from the templates in the config.

A hint lists wrong answers as text; to fit its budget it drops answers from the end and never cuts the problem. The
user's own text may spell special tokens, what fills it may not (tokenizer.py).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from lte_jax.config import ConfigError, PromptConfig
from lte_jax.host.tokenizers.spelled import Part
from lte_jax.host.tokenizers.tokenizer import Tokenizer
from lte_jax.records import FailureMode, Problem, Prompt

PROBLEM, ANSWERS = "{problem}", "{answers}"


class PromptBuilder:
    """Writes prompts with one tokenizer and one set of templates. Raises ValueError for templates that cannot work."""

    def __init__(self, config: PromptConfig, tokenizer: Tokenizer):
        _require(config.text, "prompt.text", lists_answers=False)
        _require(config.hints.concise, "prompt.hints.concise", lists_answers=False)
        _require(config.hints.concise_hint, "prompt.hints.concise_hint", lists_answers=True)
        _require(config.hints.hint, "prompt.hints.hint", lists_answers=True)
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

    def response(self, text: str) -> tuple[int, ...]:
        """A response that is given as text, special tokens where it spells them, and the token that ends it, unless it
        spells that itself: after a chat template the turn's. ValueError where it goes on after one that ends it."""
        stop_ids = self._tokenizer.stop_ids
        ids = self._tokenizer.read([Part(text, trusted=True)])
        if stops := [place for place, token in enumerate(ids[:-1]) if token in stop_ids]:
            spelling = self._tokenizer.spelling(ids[stops[0]])
            raise ValueError(f"token {stops[0]} of {len(ids)} is {spelling!r}, which ends a response: wanted it last")
        return tuple(ids) if ids and ids[-1] in stop_ids else (*ids, stop_ids[0 if self._is_plain else -1])

    def _listable(self, answers: Sequence[str]) -> tuple[str, ...]:
        """Each answer on one line, without repeats; long ones left out, then at most hints.max_answers."""
        one_line = dict.fromkeys(" ".join(answer.split()) for answer in answers)
        fitting = [answer for answer in one_line if 0 < len(answer) <= self._config.hints.max_answer_chars]
        return tuple(fitting[: self._config.hints.max_answers])

    @property
    def _is_plain(self) -> bool:
        return self._config.template == "plain"

    def _prompt(self, template: str, problem: Problem, answers: Sequence[str]) -> Prompt:
        parts = filled(template, problem.text, answers, self._config.hints.separator)
        if not self._is_plain:
            return self._tokenizer.chat(parts, self._config.system, self._config.enable_thinking)
        ids, bos = self._tokenizer.read(parts), self._tokenizer.bos_ids
        starts_with_bos = tuple(ids[: len(bos)]) == bos  # the template spells it
        return Prompt("".join(part.text for part in parts), (*(() if starts_with_bos else bos), *ids))


def filled(template: str, problem: str, answers: Sequence[str] = (), separator: str = ", ") -> list[Part]:
    """The template with {problem} and {answers} replaced in one pass; every other brace is literal (LaTeX). The
    template and the separator are trusted."""
    listed = [part for answer in answers for part in (Part(separator, True), Part(answer, False))][1:]
    values = {PROBLEM: [Part(problem, False)], ANSWERS: listed}
    pieces = re.split(f"({re.escape(PROBLEM)}|{re.escape(ANSWERS)})", template)
    return [part for piece in pieces if piece for part in values.get(piece, [Part(piece, True)])]


def fill(template: str, problem: str, answers: str = "") -> str:
    """The text of `filled`, of answers that are one text already."""
    return "".join(part.text for part in filled(template, problem, [answers]))


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
