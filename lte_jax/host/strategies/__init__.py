"""The strategies of the package, by the name that `explore.strategy` gives them."""

from collections.abc import Sequence

from lte_jax.config import Config
from lte_jax.host.decisions import Decisions
from lte_jax.host.diagnose import SameAnswer
from lte_jax.host.explore import Extra, Grpo, Lte, Luffy, Strategy, Tools
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies.evocot import Evocot
from lte_jax.host.strategies.expo import Expo
from lte_jax.host.strategies.forks import Forks
from lte_jax.host.strategies.guided import Guided
from lte_jax.host.strategies.hipo import Hipo
from lte_jax.host.strategies.notes import Notes
from lte_jax.host.strategies.reflect import Reflect
from lte_jax.host.strategies.relift import Relift
from lte_jax.host.strategies.restart import Restart, Scope
from lte_jax.host.strategies.rose import Rose
from lte_jax.host.strategies.solved import Solved
from lte_jax.plugins import arguments, resolve_class
from lte_jax.records import Problem

STRATEGIES: dict[str, type[Strategy]] = {
    "grpo": Grpo,
    "extra": Extra,
    "lte": Lte,
    "luffy": Luffy,
    "guided": Guided,
    "expo": Expo,
    "notes": Notes,
    "reflect": Reflect,
    "solved": Solved,
    "restart": Restart,
    "scope": Scope,
    "forks": Forks,
    "rose": Rose,
    "hipo": Hipo,
    "evocot": Evocot,
    "relift": Relift,
}


def make_strategy(
    config: Config,
    prompts: PromptBuilder,
    same_answer: SameAnswer,
    decisions: Decisions | None = None,
    problems: Sequence[Problem] = (),
) -> Strategy:
    """The strategy that `explore.strategy` names, with its own settings. Raises ConfigError."""
    chosen = strategy_class(config)
    args = arguments("explore.args", config.explore.args, chosen.Args)
    by_id = {problem.id: problem for problem in problems}
    return chosen(Tools(config, prompts, same_answer, decisions or Decisions(), args, by_id))


def strategy_class(config: Config) -> type[Strategy]:
    """What `explore.strategy` names. Raises ConfigError."""
    return resolve_class("explore.strategy", config.explore.strategy, STRATEGIES, Strategy)
