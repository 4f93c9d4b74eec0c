"""The files of a tokenizer's folder, and what is refused of every kind of tokenizer."""

import shutil
from pathlib import Path

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
MORE_TEMPLATES = "additional_chat_templates"  # a folder of Jinja files


class TokenizerError(ValueError):
    """A tokenizer that cannot be used. The message says what was wanted, what was got and where."""


def require_stop(stop_ids: tuple[int, ...], folder: Path, got: str) -> None:
    if not stop_ids:
        raise TokenizerError(f"{folder}: this tokenizer has no stop token ({got}); responses would never end")


def refuse_pointer(folder: Path) -> None:
    """Raises TokenizerError where a file is what Git LFS leaves in the place of a large file."""
    for name in FILES:
        if (folder / name).is_file() and (folder / name).read_bytes().startswith(b"version https://git-lfs"):
            raise TokenizerError(
                f"{folder / name}: a pointer of Git LFS, not the file itself: run `git lfs pull` in {folder}, or fetch "
                "the file again"
            )


def copy_files(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if source.resolve() == target.resolve():
        return
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if (source / MORE_TEMPLATES).is_dir():
        shutil.copytree(source / MORE_TEMPLATES, target / MORE_TEMPLATES, dirs_exist_ok=True)
