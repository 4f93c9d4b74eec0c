"""What a run reads beside its settings, by content: problems, prompt file, reward, tokenizer, and the model's shape.

The starting weights, which are large, are in `starting.py`.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.machinery import PathFinder
from pathlib import Path

from lte_jax.config import Config, Kind
from lte_jax.host.credits import make_credits, wanted_features
from lte_jax.host.problems import file_hash
from lte_jax.host.tokenizers.tokenizer_files import FILES, MORE_TEMPLATES
from lte_jax.model_io.checkpoint import Model
from lte_jax.storage.run_config import Change

# first part of a name -> what other content does to a run; None: it would be another model, which no run survives
KINDS = {
    "data.train": Kind.METHOD,
    "prompt.file": Kind.METHOD,
    "reward": Kind.METHOD,
    "curriculum.name": Kind.METHOD,
    "explore.strategy": Kind.METHOD,
    "explore.labels": Kind.METHOD,
    "advantage.credits": Kind.METHOD,
    "features": Kind.METHOD,
    "loss.regularisers": Kind.METHOD,
    "loss.on_policy_objective": Kind.METHOD,
    "loss.hinted_objective": Kind.METHOD,
    "loss.supervised_objective": Kind.METHOD,
    "eval.benchmarks": Kind.APART,
    "tokenizer": None,
    "model": None,
}


def read_contents(config: Config, model: Model) -> dict[str, str]:
    """{what is read: SHA-256 or, of the model's config, the value}. Benchmarks only where the run is evaluated."""
    files = {"data.train": config.data.train, "prompt.file": config.prompt.file, "reward": module_file(config.reward)}
    files |= {setting: module_file(name) for setting, name in _plug_ins(config)}
    if config.eval.every:
        files |= {
            f"eval.benchmarks: {entry.name or Path(entry.path).stem}": entry.path for entry in config.eval.benchmarks
        }
    templates = [f"{MORE_TEMPLATES}/{path.name}" for path in (model.folder / MORE_TEMPLATES).glob("*")]
    tokenizer = {f"tokenizer: {name}": _hash_or_absent(model.folder / name) for name in [*FILES, *templates]}
    shape = {f"model: {name}": repr(value) for name, value in asdict(model.arch).items()}
    stops = {"model: stop ids": repr(sorted(model.stop_ids))}
    return {**{name: file_hash(path) for name, path in files.items() if path}, **tokenizer, **shape, **stops}


def _plug_ins(config: Config) -> Iterator[tuple[str, str]]:
    """(setting, name) of what is code of the user's own; of several credits each by itself."""
    loss = config.loss
    names = {
        "curriculum.name": config.curriculum.name,
        "explore.strategy": config.explore.strategy,
        "explore.labels": config.explore.labels,
        "loss.on_policy_objective": loss.on_policy_objective,
        "loss.hinted_objective": loss.hinted_objective,
        "loss.supervised_objective": loss.supervised_objective,
    }
    names |= {f"advantage.credits: {name}": name for name in config.advantage.credits}
    names |= {f"loss.regularisers: {name}": name for name in loss.regularisers}
    names |= {f"features: {name}": name for name in wanted_features(make_credits(config))}
    return ((setting, name) for setting, name in names.items() if ":" in name)


def module_file(target: str) -> str:
    """The file of the module in `module:Name`, found without importing it; empty: there is none. What the module
    imports itself is not followed."""
    places, found = [os.getcwd(), *sys.path], None
    parts = target.partition(":")[0].split(".") if target else []
    for end in range(1, len(parts) + 1):
        found = PathFinder.find_spec(".".join(parts[:end]), places)
        if found is None:
            return ""
        places = list(found.submodule_search_locations or [])
    return found.origin if found and found.has_location else ""


def content_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    """What was read with other content. Only what both know is compared: an older version recorded less."""
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            is_file = not name.startswith("model:")
            yield Change(name, before[name], now[name], KINDS[name.partition(":")[0]], is_file)


def _hash_or_absent(path: Path) -> str:
    return file_hash(path) if path.is_file() else "absent"
