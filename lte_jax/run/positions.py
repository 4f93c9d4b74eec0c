"""How many positions a model was made for, and the rows of a config that are longer."""

from collections.abc import Callable, Mapping

from lte_jax.config import Config, ConfigError
from lte_jax.host.strategies import strategy_class


def training_rows(config: Config) -> dict[str, int]:
    """The settings that say how long a row of training may be -> its tokens; with the evaluations in between."""
    prompts = {"prompt.budget": config.prompt.budget}
    if strategy_class(config).hints:
        prompts["prompt.hinted_budget"] = config.prompt.hinted_budget
    budget = config.sample.response_budget
    rows = {f"{name} + sample.response_budget": n + budget for name, n in prompts.items()}
    return rows | (evaluation_rows(config) if config.eval.every else {})


def evaluation_rows(config: Config) -> dict[str, int]:
    """The same of an evaluation, by the budget of each benchmark."""
    rows = {}
    for entry in config.eval.benchmarks:
        budgets = {
            f"response_budget of {entry.name or entry.path}": entry.response_budget,
            "eval.response_budget": config.eval.response_budget,
            "sample.response_budget": config.sample.response_budget,
        }
        name, budget = next((name, n) for name, n in budgets.items() if n)
        rows[f"prompt.budget + {name}"] = config.prompt.budget + budget
    return rows


def generation_rows(config: Config) -> dict[str, int]:
    return {"prompt.budget + sample.response_budget": config.prompt.budget + config.sample.response_budget}


def check_positions(config: Config, rows: Mapping[str, int], positions: int, say: Callable[[str], None]) -> None:
    """Raises ConfigError where a row may pass the model's positions, unless model.beyond_max_positions allows it, which
    is said."""
    longer = [f"{name} = {n}" for name, n in rows.items() if n > positions]
    if not longer:
        return
    what = f"{config.model.path} was made for {positions} positions (config.json), and {'; '.join(longer)}"
    if config.model.beyond_max_positions == "refuse":
        raise ConfigError(f"{what}: lower these budgets, or set model.beyond_max_positions=allow")
    say(f"model: {what}; model.beyond_max_positions = allow")
