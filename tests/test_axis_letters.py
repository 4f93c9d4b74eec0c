"""Every axis letter in the name of an array is in the table of docs/architecture.md, and none is there twice."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def letters_in_use() -> set[str]:
    code = "".join(path.read_text() for part in ("device", "engine") for path in (ROOT / "lte_jax" / part).glob("*.py"))
    return {letter for axes in re.findall(r"\b[a-z][a-z_0-9]*_([A-Z]{1,5})[0-9]?\b", code) for letter in axes}


def letters_of_the_table() -> list[str]:
    rows = re.findall(r"^\| ([A-Z](?:, [A-Z])*) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    return ", ".join(rows).split(", ")


def test_the_table_has_each_letter_once():
    table = letters_of_the_table()
    assert len(table) == len(set(table)) > 15
    assert letters_in_use() - set(table) == set()
