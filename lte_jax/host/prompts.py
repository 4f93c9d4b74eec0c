"""The plain prompt of a problem and the hinted prompts of LTE (arXiv 2510.26109), from the templates in the config.

A hint lists wrong answers as text; to fit its budget it drops answers from the end and never cuts the problem.
"""

import re
from collections.abc import Sequence

from lte_jax.config import PromptConfig
from lte_jax.host.tokenizer import Tokenizer
from lte_jax.records import FailureMode, Problem, Prompt

PROBLEM, ANSWERS = "{problem}", "{answers}"


class PromptBuilder:
    """Writes prompts with one tokenizer and one set of templates. Raises ValueError for templates that cannot work."""

    def __init__(self, config: PromptConfig, tokenizer: Tokenizer):
        _require(config.text, "prompt.text", lists_answers=False)
        _require(config.hints.concise, "prompt.hints.concise", lists_answers=False)
        _require(config.hints.concise_hint, "prompt.hints.concise_hint", lists_answers=True)
        _require(config.hints.hint, "prompt.hints.hint", lists_answers=True)
        if config.template == "chat" and not tokenizer.has_chat_template:
            raise ValueError("prompt.template is chat, but the tokenizer has no chat template; wanted plain or file")
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
        """A response that is given as text: its tokens and the one that ends it, after a chat template the turn's."""
        end = self._tokenizer.stop_ids[0 if self._config.template == "plain" else -1]
        return (*self._tokenizer.encode(text), end)

    def _listable(self, answers: Sequence[str]) -> tuple[str, ...]:
        """Each answer on one line, without repeats; long ones left out, then at most hints.max_answers."""
        one_line = dict.fromkeys(" ".join(answer.split()) for answer in answers)
        fitting = [answer for answer in one_line if 0 < len(answer) <= self._config.hints.max_answer_chars]
        return tuple(fitting[: self._config.hints.max_answers])

    def _prompt(self, template: str, problem: Problem, answers: Sequence[str]) -> Prompt:
        text = fill(template, problem.text, self._config.hints.separator.join(answers))
        if self._config.template != "plain":
            return self._tokenizer.chat(text, self._config.system, self._config.enable_thinking)
        return Prompt(text, (*self._tokenizer.bos_ids, *self._tokenizer.encode(text)))


def fill(template: str, problem: str, answers: str = "") -> str:
    """The template with {problem} and {answers} replaced in one pass; every other brace is literal (LaTeX)."""
    values = {PROBLEM: problem, ANSWERS: answers}
    return re.sub(f"{re.escape(PROBLEM)}|{re.escape(ANSWERS)}", lambda match: values[match.group()], template)


def _require(template: str, field: str, lists_answers: bool) -> None:
    for placeholder in (PROBLEM, ANSWERS) if lists_answers else (PROBLEM,):
        if placeholder not in template:
            raise ValueError(f"{field} lacks {placeholder}, got {template!r}")
    if not lists_answers and ANSWERS in template:
        raise ValueError(f"{field} lists no answers, but holds {ANSWERS}: {template!r}")
