"""The credits that a config may name, each a small module."""

from collections.abc import Mapping, Sequence

from lte_jax.config import Config, ConfigError
from lte_jax.host.credit import Credit
from lte_jax.host.credits.ace import Ace
from lte_jax.host.credits.amplify import Amplify
from lte_jax.host.credits.confident import Confident
from lte_jax.host.credits.g2rl import G2rl
from lte_jax.host.credits.length import Cosine, Repetition
from lte_jax.host.credits.plausible import Plausible
from lte_jax.host.credits.repexp import Repexp
from lte_jax.host.credits.tree import Tree
from lte_jax.host.credits.verl import Verl
from lte_jax.plugins import arguments, resolve_class
from lte_jax.records import Group

CREDITS: dict[str, type[Credit]] = {
    "ace": Ace,
    "plausible": Plausible,
    "amplify": Amplify,
    "tree": Tree,
    "confident": Confident,
    "verl": Verl,
    "g2rl": G2rl,
    "repexp": Repexp,
    "cosine": Cosine,
    "repetition": Repetition,
}
Credits = Mapping[str, Credit]  # by name, in the order in which they act


def make_credits(config: Config) -> Credits:
    """Those that `advantage.credits` names, with their own settings. Raises ConfigError."""
    names = config.advantage.credits
    if unused := sorted(set(config.advantage.args) - set(names)):
        raise ConfigError(f"advantage.args: settings for {', '.join(unused)}, which advantage.credits does not name")
    return {name: _make(config, name) for name in names}


def wanted_features(credits_: Credits) -> tuple[str, ...]:
    """What the credits read of `group.features`, each once."""
    return tuple(dict.fromkeys(name for credit in credits_.values() for name in credit.features))


def observed(credits_: Credits, memory: dict, groups: Sequence[Group]) -> dict:
    """Every credit's memory after a step, by name."""
    return {name: credit.observe(memory.get(name, {}), groups) for name, credit in credits_.items()}


def _make(config: Config, name: str) -> Credit:
    chosen = resolve_class("advantage.credits", name, CREDITS, Credit)
    return chosen(config, arguments(f"advantage.args.{name}", config.advantage.args.get(name, {}), chosen.Args))
