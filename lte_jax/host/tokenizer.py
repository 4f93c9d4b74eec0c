"""Hugging Face folders and SentencePiece `.model` files behind one small interface.

Text is text: where a problem or a listed answer spells a special token (`<|im_end|>`), it is encoded as characters.
Only the chat template writes special tokens into a prompt.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from jinja2 import TemplateError

from lte_jax.records import Prompt

SENTENCEPIECE_FILE = "tokenizer.model"
FILES = (  # what `save` copies, where it is there
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    SENTENCEPIECE_FILE,
)
# Stand for the messages while a template is rendered; private use characters, which no template spells.
USER_HOLE, SYSTEM_HOLE, ANSWER_HOLE = "\ue000user\ue001", "\ue000system\ue001", "\ue000answer\ue001"


class TokenizerError(ValueError):
    """A tokenizer that cannot be used. The message says what was wanted, what was got and where."""


class Tokenizer(Protocol):
    """What the rest of the project knows of a tokenizer."""

    vocab_size: int  # largest id + 1
    pad_id: int  # fills masked positions
    stop_ids: tuple[int, ...]  # any of these ends a response; never empty
    bos_ids: tuple[int, ...]  # what the tokenizer's convention puts before a plain prompt, often nothing
    has_chat_template: bool

    def encode(self, text: str) -> list[int]:
        """The tokens of plain text: no bos, no eos, and no special token whatever the text spells."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special tokens left out."""

    def spelling(self, token: int) -> str:
        """How one token is written, special tokens included: for messages."""

    def chat(self, user: str, system: str = "", enable_thinking: bool = False) -> Prompt:
        """One user message in the chat template, ready for the assistant's answer. An empty `system` means none."""

    def save(self, folder: str | Path) -> None:
        """Copies the tokenizer's files into `folder`."""


def open_tokenizer(folder: str | Path, chat_template: str | None = None) -> Tokenizer:
    """Opens a local folder's tokenizer; never downloads, never runs the folder's code. Raises TokenizerError.

    `chat_template`: a Jinja template that takes the place of the folder's own, in the same sandbox."""
    folder = Path(folder)
    if not folder.is_dir():
        raise TokenizerError(f"{folder}: wanted a folder with a tokenizer, there is no such folder")
    if (folder / "tokenizer.json").is_file() or (folder / "tokenizer_config.json").is_file():
        return HuggingFaceTokenizer(folder, chat_template)
    if (folder / SENTENCEPIECE_FILE).is_file():
        if chat_template is not None:
            raise TokenizerError(f"{folder}: SentencePiece files take no chat template; use prompt.template=plain")
        return SentencePieceTokenizer(folder)
    raise TokenizerError(
        f"{folder}: no tokenizer here; wanted tokenizer.json, tokenizer_config.json or {SENTENCEPIECE_FILE}"
    )


class HuggingFaceTokenizer:
    """A Hugging Face folder, read by transformers, encoded by its `tokenizers` backend."""

    def __init__(self, folder: Path, chat_template: str | None = None):
        from transformers import AutoTokenizer  # seconds to import: only where a Hugging Face folder is opened

        self._folder = folder
        try:
            self._hf = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the Rust library raises Exception itself
            raise TokenizerError(f"{folder}: transformers cannot read this tokenizer: {error}") from error
        if not self._hf.is_fast:
            name = type(self._hf).__name__
            raise TokenizerError(f"{folder}: {name} is a slow Python tokenizer; wanted one with tokenizer.json")
        if chat_template is not None:
            self._hf.chat_template = chat_template
        self._backend = self._hf.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        # Added tokens that text may not become. Runs of blanks (Gemma has them) are text.
        self._marks = {i for i, t in self._backend.get_added_tokens_decoder().items() if t.content.strip()}
        self.vocab_size = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        self.has_chat_template = bool(self._hf.chat_template)
        eos = self._hf.eos_token_id
        self.stop_ids = tuple(dict.fromkeys(([] if eos is None else [eos]) + self._turn_end()))
        _require_stop(self.stop_ids, folder, "neither an eos token nor a chat template that ends an assistant's turn")
        self.pad_id = self.stop_ids[0] if self._hf.pad_token_id is None else self._hf.pad_token_id
        bos = self._hf.bos_token_id
        self.bos_ids = (bos,) if bos is not None and self._backend.encode("").ids[:1] == [bos] else ()

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while True:
            encoding = self._parse(text)
            cut = self._first_mark(encoding)
            if cut is None:
                return ids + encoding.ids
            # A spelling that is cut after its first character is no longer one.
            ids += self.encode(text[: cut + 1])
            text = text[cut + 1 :]

    def decode(self, ids: Sequence[int]) -> str:
        return self._hf.decode(list(map(int, ids)), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def spelling(self, token: int) -> str:
        return self._backend.id_to_token(token) or ""

    def chat(self, user: str, system: str = "", enable_thinking: bool = False) -> Prompt:
        if not self.has_chat_template:
            raise TokenizerError(f"{self._folder}: this tokenizer has no chat template; use prompt.template=plain")
        text = self._render(_messages(user, system), enable_thinking)
        contents = {USER_HOLE: user, SYSTEM_HOLE: system}
        if all(self._first_mark(self._parse(content)) is None for content in contents.values()):
            return Prompt(text, tuple(self._parse(text).ids))
        frame = self._render(_messages(USER_HOLE, SYSTEM_HOLE if system else ""), enable_thinking)
        ids: list[int] = []
        for part in re.split(f"({USER_HOLE}|{SYSTEM_HOLE})", frame):
            if part in contents:
                ids += self.encode(contents[part])
            else:
                ids += self._parse(part).ids
        return Prompt(text, tuple(ids))

    def save(self, folder: str | Path) -> None:
        _copy(self._folder, Path(folder))

    def _parse(self, text: str):
        """The backend's encoding of text in which the spelling of an added token is that token."""
        return self._backend.encode(text, add_special_tokens=False)

    def _first_mark(self, encoding) -> int | None:
        """Where the first spelling of an added token starts, characters; None where the encoding holds none."""
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token in self._marks and end - start > 1:  # one character is the same either way
                return start
        return None

    def _render(self, messages: list[dict[str, str]], enable_thinking: bool, generate: bool = True) -> str:
        """The chat template as text, by transformers' own sandboxed jinja."""
        try:
            return self._hf.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generate, enable_thinking=enable_thinking
            )
        except TemplateError as error:
            raise TokenizerError(f"{self._folder}: the chat template refuses {messages}: {error}") from error

    def _turn_end(self) -> list[int]:
        """The token that the template writes after an assistant's message, if it is an added token."""
        if not self.has_chat_template:
            return []
        messages = [*_messages(USER_HOLE, ""), {"role": "assistant", "content": ANSWER_HOLE}]
        after = self._render(messages, enable_thinking=False, generate=False).rpartition(ANSWER_HOLE)[2]
        return [i for i in self._parse(after.lstrip()).ids[:1] if i in self._marks]


class SentencePieceTokenizer:
    """A folder with a SentencePiece `tokenizer.model`. The library itself never matches control pieces in text."""

    has_chat_template = False

    def __init__(self, folder: Path):
        import sentencepiece

        self._folder = folder
        path = folder / SENTENCEPIECE_FILE
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
        except RuntimeError as error:
            raise TokenizerError(f"{path}: not a SentencePiece model: {error}") from error
        self.vocab_size = self._model.get_piece_size()
        self.stop_ids = tuple(i for i in [self._model.eos_id()] if i >= 0)  # -1: the model has none
        _require_stop(self.stop_ids, folder, "a SentencePiece model without an eos piece")
        self.pad_id = self._model.pad_id() if self._model.pad_id() >= 0 else self.stop_ids[0]
        self.bos_ids = tuple(i for i in [self._model.bos_id()] if i >= 0)

    def encode(self, text: str) -> list[int]:
        return self._model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._model.decode(list(map(int, ids)))

    def spelling(self, token: int) -> str:
        return self._model.id_to_piece(token) if token < self.vocab_size else ""

    def chat(self, user: str, system: str = "", enable_thinking: bool = False) -> Prompt:
        raise TokenizerError(f"{self._folder}: SentencePiece files have no chat template; use prompt.template=plain")

    def save(self, folder: str | Path) -> None:
        _copy(self._folder, Path(folder))


def _messages(user: str, system: str) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": user}]


def _require_stop(stop_ids: tuple[int, ...], folder: Path, got: str) -> None:
    if not stop_ids:
        raise TokenizerError(f"{folder}: this tokenizer has no stop token ({got}); responses would never end")


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (source / name).is_file() and source.resolve() != target.resolve():
            shutil.copyfile(source / name, target / name)
