"""What is said of a method: one record beside its code, which `lte methods` lists."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """How far the code is the authors'."""

    EXACT = "exact"  # the paper's or its code's formula
    RECONSTRUCTED = "reconstructed"  # parts were not found; `ours` says which parts are ours
    OURS = "ours"  # no paper


@dataclass(frozen=True)
class Method:
    """`family`: the page docs/methods/FAMILY.md. `cost`: passes, tokens and verdicts beyond GRPO's. `ours`: what
    differs from the authors', or had to be chosen."""

    idea: str  # one sentence
    paper: str  # arXiv id; empty: none
    source: Source
    family: str
    cost: str = "none"
    ours: str = ""
    configs: tuple[str, ...] = ()  # files of configs/
