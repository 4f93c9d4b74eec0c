"""A run's config.yaml beside the config that would continue it: what differs, and of which kind.

Runs of older versions are read, too: a setting that they lack has its default, one that is gone is left out where it
had the value with which the run is the same without it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from etils import epath

from lte_jax.config import Config, ConfigError, Kind, build, fields, kinds, read_yaml

RUN_CONFIG = "config.yaml"
# setting that is gone, dotted -> the value with which a run is the same without it
REMOVED: Mapping[str, object] = {}


@dataclass(frozen=True)
class Change:
    """A setting that has another value, or a file of other content, than the run was started with."""

    name: str
    before: object
    now: object
    kind: Kind | None  # None: no run goes on with it
    is_file: bool = False  # the values are hashes

    def __str__(self) -> str:
        return f"{self.name} " + ("(the file's content)" if self.is_file else f"({self.before!r} -> {self.now!r})")


def load_run(path: epath.Path, say: Callable[[str], None], overrides: Sequence[str] = ()) -> Config:
    """The config that a run wrote. Raises ConfigError where it has a setting that this version does not know, or one
    that is gone with a value that mattered; `say` is told of each other one that is gone."""
    values = read_yaml(path)
    for name, neutral in REMOVED.items():
        *sections, key = name.split(".")
        section = values
        for part in sections:
            section = section.get(part, {})
        if key not in section:
            continue
        value = section.pop(key)
        if value != neutral:
            raise ConfigError(
                f"{path}: {name} = {value!r}: this version has no such setting, and is what {neutral!r} was: "
                "continue the run with the version that began it"
            )
        say(f"{path}: {name} = {value!r} is left out: this version has no such setting and does the same")
    return build(values, overrides, where=str(path))


def changes(before: Config, now: Config) -> Iterator[Change]:
    """Every setting whose value differs. More or fewer steps are another training where the learning rate falls with
    them."""
    kind_of, values = dict(kinds()), {name: value for name, value, _ in fields(before)}
    falls = "constant" != now.optim.schedule
    for name, value, _ in fields(now):
        if values[name] != value:
            kind = Kind.METHOD if name == "steps" and falls else kind_of[name]
            yield Change(name, values[name], value, kind)


def levers() -> str:
    """The settings of memory and speed, which may change at any start; a section of nothing else as `engine.*`."""
    of_section: dict[str, list[tuple[str, Kind]]] = {}
    for name, kind in kinds():
        of_section.setdefault(name.rpartition(".")[0], []).append((name, kind))
    found = []
    for section, entries in of_section.items():
        own = [name for name, kind in entries if kind is Kind.LAYOUT]
        found += [f"{section}.*"] if len(own) == len(entries) else own
    return ", ".join(found)
