"""`lte methods`: every method that a config can name, with what its own record says of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from textwrap import fill
from typing import Any, NamedTuple

from lte_jax.config import ConfigError
from lte_jax.device.objectives import HINTED_OBJECTIVES, ON_POLICY_OBJECTIVES, SUPERVISED_OBJECTIVES
from lte_jax.device.regularisers import REGULARISERS
from lte_jax.host.credits import CREDITS
from lte_jax.host.curricula import CURRICULA
from lte_jax.host.drawing import METHODS as DRAWING_METHODS
from lte_jax.host.drawing import SCHEDULES
from lte_jax.host.labels import LABELS
from lte_jax.host.strategies import STRATEGIES
from lte_jax.method import Method

WIDTH = 110  # characters
RECORDS = {"annealing.schedule": DRAWING_METHODS}  # of what is registered as a plain function
REGISTRIES: Mapping[str, Mapping[str, Any]] = {
    "explore.strategy": STRATEGIES,
    "curriculum.name": CURRICULA,
    "explore.labels": LABELS,
    "advantage.credits": CREDITS,
    "loss.regularisers": REGULARISERS,
    "annealing.schedule": SCHEDULES,
    "loss.on_policy_objective": ON_POLICY_OBJECTIVES,
    "loss.hinted_objective": HINTED_OBJECTIVES,
    "loss.supervised_objective": SUPERVISED_OBJECTIVES,
}


class Listed(NamedTuple):
    """A name that a setting takes. `method`: None where nothing is said of it."""

    setting: str
    name: str
    method: Method | None
    args: type | None  # the pydantic model of its own settings


def listed() -> Iterator[Listed]:
    """Everything that is registered: classes say `METHOD` and `Args`, other records `method` and `args`."""
    for setting, registry in REGISTRIES.items():
        for name, entry in registry.items():
            fields = ("METHOD", "Args") if isinstance(entry, type) else ("method", "args")
            method, args = (getattr(entry, field, None) for field in fields)
            yield Listed(setting, name, RECORDS.get(setting, {}).get(name, method), args)


def as_json() -> list[dict]:
    return [
        {
            "setting": each.setting,
            "name": each.name,
            **(asdict(each.method) if each.method else {}),
            "settings": {name: field.description or "" for name, field in _fields(each)},
        }
        for each in listed()
    ]


def table_text() -> str:
    """A line or two for each, below the setting that takes its name."""
    lines: list[str] = []
    for each in listed():
        if f"{each.setting}:" not in lines:
            lines += ["", f"{each.setting}:"]
        method = each.method
        said = f"{method.idea} [{method.source}; {method.paper or 'no paper'}]" if method else "see docs/method.md"
        lines.append(fill(f"{each.name:12} {said}", WIDTH, initial_indent="  ", subsequent_indent=" " * 15))
    return "\n".join([*lines[1:], "", "lte methods NAME says more of one."])


def detail_text(name: str) -> str:
    """What is known of a method, and its own settings. Raises ConfigError."""
    found = [each for each in listed() if each.name == name]
    if not found:
        known = ", ".join(dict.fromkeys(each.name for each in listed()))
        raise ConfigError(f"methods: {name} is none; wanted one of {known}")
    return "\n\n".join(_detail(each) for each in found)


def _detail(each: Listed) -> str:
    lines = [f"{each.setting} = {each.name}"]
    if method := each.method:
        rows = {
            "idea": method.idea,
            "paper": ", ".join(f"arXiv {id_}" for id_ in method.paper.split(", ")) if method.paper else "none",
            "source": method.source,
            "cost": method.cost,
            "ours": method.ours,
            "configs": ", ".join(method.configs),
            "page": f"docs/methods/{method.family}.md",
        }
        lines += [_row(name, text) for name, text in rows.items() if text]
    for name, field in _fields(each):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        lines.append(_row(f"{name} = {default}", field.description or ""))
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return fill(f"{name}: {text}", WIDTH, initial_indent="  ", subsequent_indent="      ")


def _fields(each: Listed) -> list[tuple[str, Any]]:
    return list(each.args.model_fields.items()) if each.args else []
