"""The tokenizer of a folder with nothing but a SentencePiece model."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from lte_jax.host.tokenizers.special_tokens import BREAK, Part, Spelling, guard, private_names, renamed
from lte_jax.host.tokenizers.tokenizer_files import SENTENCEPIECE_FILE, TokenizerError, copy_files, require_stop
from lte_jax.records import Prompt

BLANK = "\u2581"  # how its pieces spell a space


class SentencePieceTokenizer:
    """A folder with a SentencePiece `tokenizer.model`. Its control and user-defined pieces are the special tokens."""

    no_chat = "SentencePiece files have no chat template; wanted prompt.template=plain"

    def __init__(self, folder: Path):
        self._folder = folder
        path = folder / SENTENCEPIECE_FILE
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
        except RuntimeError as error:
            raise TokenizerError(f"{path}: not a SentencePiece model: {error}") from error
        self.vocab_size = self._model.get_piece_size()
        self.stop_ids = tuple(i for i in [self._model.eos_id()] if i >= 0)  # -1: the model has none
        require_stop(self.stop_ids, folder, "a SentencePiece model without an eos piece")
        self.pad_id = self._model.pad_id() if self._model.pad_id() >= 0 else self.stop_ids[0]
        self.bos_ids = tuple(i for i in [self._model.bos_id()] if i >= 0)
        self._proto = ModelProto.FromString(path.read_bytes())
        kinds = (ModelProto.SentencePiece.CONTROL, ModelProto.SentencePiece.USER_DEFINED)
        special = [(i, piece.piece) for i, piece in enumerate(self._proto.pieces) if piece.type in kinds]
        self._spelled = {name.replace(BLANK, " "): i for i, name in special if len(name.strip(BLANK)) > 1}
        self.special_ids = frozenset(self._spelled.values())
        longest_first = sorted(self._spelled, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")  # (?!): never

    def encode(self, text: str) -> list[int]:
        return self.read([Part(text, trusted=False)])

    def read(self, parts: Sequence[Part]) -> list[int]:
        text = guard(parts, self._find)
        first = next(self._find(text), None)
        if BREAK not in text and first is None:
            return self._model.encode(text)
        names, model = self._renamed
        ids = model.encode(renamed(text, self._find, names))
        # The library puts a blank before a special token that begins the text; transformers puts none.
        return ids[ids.index(first.token) :] if first and first.start == 0 else ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._model.decode(list(map(int, ids)))

    def spelling(self, token: int) -> str:
        return self._model.id_to_piece(token) if token < self.vocab_size else ""

    def chat(self, user: Sequence[Part], system: str = "", enable_thinking: bool = False) -> Prompt:
        raise TokenizerError(f"{self._folder}: {self.no_chat}")

    def save(self, folder: str | Path) -> None:
        copy_files(self._folder, Path(folder))

    def _find(self, text: str) -> Iterator[Spelling]:
        return (Spelling(self._spelled[m.group()], m.start(), m.end()) for m in self._pattern.finditer(text))

    @cached_property
    def _renamed(self):
        """The same model with its special pieces under private names, all of them matched in text: the library matches
        user-defined pieces in any text, and control pieces in none."""
        names, proto = private_names(self.special_ids), ModelProto()
        proto.CopyFrom(self._proto)
        for token, name in names.items():
            proto.pieces[token].piece, proto.pieces[token].type = name, ModelProto.SentencePiece.USER_DEFINED
        return names, sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
