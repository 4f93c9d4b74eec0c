"""Models by their Hugging Face Hub id: a pinned commit, and of its files only weights, configs and tokenizer."""

import re
from collections.abc import Callable

from etils import epath

from lte_jax.config import ConfigError, ModelConfig

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
TEXTS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
)
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")  # the hub's own limit
_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_path(model: ModelConfig, weights: bool = True, say: Callable[[str], None] = print) -> epath.Path:
    """Where the starting model lies; a Hub id is fetched to this machine at `model.revision`, unless it is here.

    `weights` False: configs and tokenizer are enough. Raises ConfigError for an id without a commit, naming the newest
    one where the Hub can be asked, and where it cannot be fetched.
    """
    if not model.path:
        raise ConfigError("model.path is empty: wanted a Hugging Face folder, a run folder or a Hub id")
    path = epath.Path(model.path)
    if path.exists() or not _ID.fullmatch(model.path):
        if model.revision:
            raise ConfigError(f"model.revision is set, but model.path = {model.path} is a folder: leave it out")
        return path
    if not _COMMIT.fullmatch(model.revision):
        raise ConfigError(
            f"{model.path}: there is no such folder; for a Hub id, wanted model.revision = a commit of 40 hexadecimal "
            f"digits, got {model.revision or 'none'}. {_newest(model.path)}"
        )
    say(f"model: {model.path} at {model.revision} of the Hugging Face Hub")
    return _fetched(model, [*TEXTS, *(WEIGHTS if weights else ())])


def _fetched(model: ModelConfig, patterns: list[str]) -> epath.Path:
    """In huggingface_hub's own cache; asks the network only for what is missing there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(model.path, revision=model.revision, allow_patterns=patterns)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"{model.path} at {model.revision}: cannot be fetched: {_first_line(error)}") from None
    return epath.Path(folder)


def _newest(name: str) -> str:
    from huggingface_hub import HfApi

    try:
        return f"The newest is model.revision={HfApi().model_info(name, timeout=10).sha}"
    except Exception as error:  # whatever keeps the Hub from answering only changes the message of another error
        return f"The Hub could not be asked for the newest: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
