"""Problem files (JSONL, Parquet) and the order in which training takes them.

A row has `problem`, `answer` and, optionally, `id` and `trace`, a worked solution. A row that cannot be used is refused
with file, row and reason.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lte_jax.records import Problem


class ProblemError(ValueError):
    """A problem file that cannot be used. The message says what was wanted, what was got and where."""


class _Number(str):
    """A JSON number as the file spells it: an answer of 0.10 stays `0.10`."""


def load_problems(path: str | Path, with_answers: bool = True) -> list[Problem]:
    """Reads a .jsonl or .parquet file. An answer may be a number; an id defaults to `<file stem>-<row>`, from 1.

    `with_answers` False: rows need none, and those they have are left out.

    Raises ProblemError with file, line (JSONL) or row (Parquet, from 1) and reason."""
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        wanted = " or ".join(readers)
        raise ProblemError(f"{path}: wanted a file that ends in {wanted}, got {path.suffix or 'no ending'}")
    if not path.is_file():
        raise ProblemError(f"{path}: there is no such file")
    problems: list[Problem] = []
    first_use: dict[str, str] = {}
    for number, (where, row) in enumerate(readers[path.suffix](path), start=1):
        problem = _problem(row, where, f"{path.stem}-{number}", with_answers)
        if problem.id in first_use:
            raise ProblemError(f"{where}: id {problem.id!r} is already used at {first_use[problem.id]}")
        first_use[problem.id] = where
        problems.append(problem)
    if not problems:
        raise ProblemError(f"{path}: no problems in this file")
    return problems


def file_hash(path: str | Path) -> str:
    """SHA-256 of the file, hexadecimal: a continued run refuses other data."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take(problems: Sequence[Problem], seed: int, position: int, n: int) -> list[Problem]:
    """n problems from a position of an endless order: a pure function of (seed, position).

    Epoch e is a permutation drawn from (seed, e), and the epochs follow each other, so each problem comes once per
    epoch, also where an epoch ends inside a step or n exceeds the set."""
    if not problems or n < 1 or position < 0:
        raise ProblemError(f"cannot take {n} of {len(problems)} problems from position {position}")
    taken: list[Problem] = []
    while len(taken) < n:
        epoch, start = divmod(position + len(taken), len(problems))
        order = np.random.default_rng([seed, epoch]).permutation(len(problems))
        taken += [problems[i] for i in order[start : start + n - len(taken)]]
    return taken


def _problem(row: Any, where: str, default_id: str, with_answers: bool) -> Problem:
    if not isinstance(row, dict):
        wanted = "problem and answer" if with_answers else "problem"
        raise ProblemError(f"{where}: wanted an object with {wanted}, got {type(row).__name__}")
    given_id = row.get("id")
    return Problem(
        id=default_id if given_id is None else _text(row, "id", where, number_too=True),
        text=_text(row, "problem", where),
        answer=_text(row, "answer", where, number_too=True) if with_answers else "",
        trace="" if row.get("trace") is None else _text(row, "trace", where),
    )


def _text(row: dict, field: str, where: str, number_too: bool = False) -> str:
    """The field as text. Raises ProblemError where it is missing, empty, of another type or not valid Unicode."""
    value = row.get(field)
    if value is None:
        raise ProblemError(f"{where}: field {field!r} is missing; each row needs problem, answer")
    is_number = isinstance(value, _Number) or (isinstance(value, int | float) and not isinstance(value, bool))
    if is_number and number_too:
        if isinstance(value, float) and not math.isfinite(value):
            raise ProblemError(f"{where}: field {field!r} is {value}, not a number")
        return str(value)
    if is_number or not isinstance(value, str):
        kind = "number" if is_number else type(value).__name__
        raise ProblemError(f"{where}: field {field!r} must be a string{' or a number' * number_too}, got a {kind}")
    if not value.strip():
        raise ProblemError(f"{where}: field {field!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ProblemError(f"{where}: field {field!r} holds half a surrogate pair, which is not text")
    return value


def _read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    """(file:line, value) of each line; blank lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield where, json.loads(text, parse_int=_Number, parse_float=_Number)
            except UnicodeDecodeError as error:
                raise ProblemError(f"{where}: not UTF-8: {error.reason} at byte {error.start}") from None
            except (json.JSONDecodeError, RecursionError) as error:
                raise ProblemError(f"{where}: not JSON: {error}") from None


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    """(file row n, columns as a dict) of each row, from 1."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [name for name in ("id", "problem", "answer", "trace") if name in file.schema_arrow.names]
        rows = file.read(columns=columns).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemError(f"{path}: not a Parquet file: {error}") from None
    if missing := {"problem", "answer"} - set(columns):
        raise ProblemError(f"{path}: column {sorted(missing)[0]!r} is missing; wanted problem, answer")
    for number, row in enumerate(rows, start=1):
        yield f"{path} row {number}", row
