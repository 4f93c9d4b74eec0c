"""The tokenizer of a Hugging Face folder."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from jinja2 import TemplateError
from transformers import AutoTokenizer

from lte_jax.host.tokenizers.special_tokens import BREAK, Part, Spelling, guard, private_names, renamed, renamed_backend
from lte_jax.host.tokenizers.tokenizer_files import TokenizerError, copy_files, refuse_pointer, require_stop
from lte_jax.records import Prompt

ANSWER_HOLE = "\ue000answer\ue001"  # stands for a message while a template is rendered; no template spells it


class HuggingFaceTokenizer:
    """A Hugging Face folder, read by transformers, encoded by its `tokenizers` backend."""

    def __init__(self, folder: Path, chat_template: str | None = None):
        self._folder = folder
        try:
            self._hf = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the Rust library raises Exception itself
            refuse_pointer(folder)
            raise TokenizerError(f"{folder}: transformers cannot read this tokenizer: {error}") from error
        if not self._hf.is_fast:
            name = type(self._hf).__name__
            raise TokenizerError(f"{folder}: {name} is a slow Python tokenizer; wanted one with tokenizer.json")
        if chat_template is not None:
            self._hf.chat_template = chat_template
        self._backend = self._hf.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        # Runs of blanks (Gemma has them) are text; so is a single character, which cannot be broken.
        added = self._backend.get_added_tokens_decoder().items()
        self.special_ids = frozenset(id_ for id_, token in added if len(token.content.strip()) > 1)
        self.vocab_size = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        self.no_chat = self._choose_template()
        eos = self._hf.eos_token_id
        self.stop_ids = tuple(dict.fromkeys(([] if eos is None else [eos]) + self._turn_end()))
        require_stop(self.stop_ids, folder, "neither an eos token nor a chat template that ends an assistant's turn")
        self.pad_id = self.stop_ids[0] if self._hf.pad_token_id is None else self._hf.pad_token_id
        bos = self._hf.bos_token_id
        self.bos_ids = (bos,) if bos is not None and self._backend.encode("").ids[:1] == [bos] else ()

    def encode(self, text: str) -> list[int]:
        return self.read([Part(text, trusted=False)])

    def read(self, parts: Sequence[Part]) -> list[int]:
        encoding = self._parse("".join(part.text for part in parts))
        if self.special_ids.isdisjoint(encoding.ids):  # most prompts of a plain template: nothing to guard
            return encoding.ids
        return self._encode(guard(parts, self._find))

    def decode(self, ids: Sequence[int]) -> str:
        return self._hf.decode(list(map(int, ids)), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def spelling(self, token: int) -> str:
        return self._backend.id_to_token(token) or ""

    def chat(self, user: Sequence[Part], system: str = "", enable_thinking: bool = False) -> Prompt:
        if self.no_chat:
            raise TokenizerError(f"{self._folder}: {self.no_chat}")
        text = self._render(_messages(guard(user, self._find), system), enable_thinking)
        return Prompt(text.replace(BREAK, ""), tuple(self._encode(text)))

    def save(self, folder: str | Path) -> None:
        copy_files(self._folder, Path(folder))

    def _parse(self, text: str):
        """The backend's encoding of text in which the spelling of an added token is that token."""
        return self._backend.encode(text, add_special_tokens=False)

    def _find(self, text: str) -> Iterator[Spelling]:
        """Each spelling of an added token, without the blanks that the token may take along."""
        encoding = self._parse(text)
        if self.special_ids.isdisjoint(encoding.ids):  # offsets are slow to fetch
            return
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            spelling = text[start:end].strip()
            if token in self.special_ids and len(spelling) > 1 and BREAK[0] not in spelling:
                start = text.index(spelling, start)
                yield Spelling(token, start, start + len(spelling))

    def _encode(self, text: str) -> list[int]:
        """The tokens of guarded text."""
        if BREAK not in text:
            return self._parse(text).ids
        names, backend, ids = self._renamed
        found = backend.encode(renamed(text, self._find, names), add_special_tokens=False).ids
        return [ids.get(token, token) for token in found]

    @cached_property
    def _renamed(self):
        """Made where an untrusted text spells a special token: seconds for a large vocabulary."""
        names = private_names(self.special_ids)
        return names, *renamed_backend(self._backend, names)

    def _choose_template(self) -> str:
        """Keeps one chat template of several, the default; why there is none to use, or nothing."""
        found = self._hf.chat_template
        if isinstance(found, dict):
            self._hf.chat_template = found.get("default")
            if not self._hf.chat_template:
                return (
                    f"this tokenizer has several chat templates ({', '.join(sorted(found))}) and none is the default: "
                    "wanted prompt.template=file with the text of one in prompt.file, or prompt.template=plain"
                )
        return "" if self._hf.chat_template else "this tokenizer has no chat template; wanted prompt.template=plain"

    def _render(self, messages: list[dict[str, str]], enable_thinking: bool, generate: bool = True) -> str:
        """The chat template as text, by transformers' own sandboxed jinja."""
        try:
            return self._hf.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generate, enable_thinking=enable_thinking
            )
        except TemplateError as error:
            sent = str(messages).replace(BREAK, "")
            raise TokenizerError(f"{self._folder}: the chat template refuses {sent}: {error}") from error

    def _turn_end(self) -> list[int]:
        """The token that the template writes after an assistant's message, if it is an added token."""
        if self.no_chat:
            return []
        messages = [*_messages("Hello.", ""), {"role": "assistant", "content": ANSWER_HOLE}]
        after = self._render(messages, enable_thinking=False, generate=False).rpartition(ANSWER_HOLE)[2]
        return [i for i in self._parse(after.lstrip()).ids[:1] if i in self.special_ids]


def _messages(user: str, system: str) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": user}]
