"""Hugging Face folders and SentencePiece `.model` files behind one small interface.

What the user writes (templates, the system message, traces) and the chat template may spell special tokens
(`<|im_end|>`), and then mean them. A problem's text, a listed answer and whatever a model wrote are text: a special
token's spelling in them is encoded as characters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.host.tokenizers.tokenizer_files import SENTENCEPIECE_FILE, TokenizerError
from lte_jax.records import Prompt


class Tokenizer(Protocol):
    """What the rest of the project knows of a tokenizer."""

    vocab_size: int  # largest id + 1
    pad_id: int  # fills masked positions
    stop_ids: tuple[int, ...]  # any of these ends a response; never empty
    bos_ids: tuple[int, ...]  # what the tokenizer's convention puts before a plain prompt, often nothing
    special_ids: frozenset[int]  # added and control tokens: what `read` finds in trusted parts alone
    no_chat: str  # why `chat` cannot work; empty where it does

    def encode(self, text: str) -> list[int]:
        """The tokens of untrusted text: no bos, no eos, and no special token whatever the text spells."""

    def read(self, parts: Sequence[Part]) -> list[int]:
        """The tokens of the parts as one string; a special token's spelling is that token in trusted parts alone."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special tokens left out."""

    def spelling(self, token: int) -> str:
        """How one token is written, special tokens included: for messages."""

    def chat(self, user: Sequence[Part], system: str = "", enable_thinking: bool = False) -> Prompt:
        """One user message in the chat template, ready for the assistant's answer. An empty `system` means none; the
        user's own one is trusted, as the template is."""

    def save(self, folder: str | Path) -> None:
        """Copies the tokenizer's files into `folder`."""


def open_tokenizer(folder: str | Path, chat_template: str | None = None) -> Tokenizer:
    """Opens a local folder's tokenizer; never downloads, never runs the folder's code. Raises TokenizerError.

    `chat_template`: a Jinja template that takes the place of the folder's own, in the same sandbox."""
    folder = Path(folder)
    if not folder.is_dir():
        raise TokenizerError(f"{folder}: wanted a folder with a tokenizer, there is no such folder")
    if (folder / "tokenizer.json").is_file() or (folder / "tokenizer_config.json").is_file():
        from lte_jax.host.tokenizers.huggingface import HuggingFaceTokenizer

        return HuggingFaceTokenizer(folder, chat_template)
    if (folder / SENTENCEPIECE_FILE).is_file():
        if chat_template is not None:
            raise TokenizerError(f"{folder}: SentencePiece files take no chat template; use prompt.template=plain")
        from lte_jax.host.tokenizers.sentencepieces import SentencePieceTokenizer

        return SentencePieceTokenizer(folder)
    raise TokenizerError(
        f"{folder}: no tokenizer here; wanted tokenizer.json, tokenizer_config.json or {SENTENCEPIECE_FILE}"
    )
