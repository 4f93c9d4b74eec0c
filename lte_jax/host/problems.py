"""Problem files (JSONL, Parquet) and the order in which training takes them.

A row has `problem`, `answer` and, optionally, `id` and `trace`, a worked solution. Rows that cannot be used are refused
with file, row and reason: the first ten of them, and how many there are.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lte_jax.records import Problem


class ProblemError(ValueError):
    """A problem file that cannot be used. The message says what was wanted, what was got and where."""


class _Number(str):
    """A number as the file spells it."""


@dataclass(frozen=True)
class _Unreadable:
    """In place of a row that is none."""

    reason: str


N_NAMED = 10  # rows that an error names
_SHOWN_EVERY = 2_000  # rows
_MAX_EXPONENT = 1_000  # of a number that is written out in digits; the verifier reads no longer ones
_Rows = Iterator[tuple[str, Any, float]]  # where, the row, the share of the file that is read
Show = Callable[[float], None]  # that share, now and then
Check = Callable[[str], str | None]  # why an answer cannot be used, or None


class Answers(StrEnum):
    """What is done about a row's reference answer."""

    NEEDED = "needed"  # a row without one is refused
    TAKEN = "taken"  # where there is one
    LEFT_OUT = "left_out"


def load_problems(
    path: str | Path,
    answers: Answers = Answers.NEEDED,
    check: Check | None = None,
    show: Show = lambda share: None,
) -> list[Problem]:
    """Reads a .jsonl or .parquet file. An answer may be a number, which is written out in digits: 123456.0 as `123456`,
    1e3 as `1000`. An id defaults to `<file stem>-<row>`, from 1.

    `check`: called once for each answer.

    Raises ProblemError with file, line (JSONL) or row (Parquet, from 1) and reason, of all rows that cannot be used."""
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        wanted = " or ".join(readers)
        raise ProblemError(f"{path}: wanted a file that ends in {wanted}, got {path.suffix or 'no ending'}")
    if not path.is_file():
        raise ProblemError(f"{path}: there is no such file")
    problems: list[Problem] = []
    check = cache(check or (lambda answer: None))
    stem = path.stem
    first_use: dict[str, str] = {}
    bad: list[str] = []
    for number, (where, row, share) in enumerate(readers[path.suffix](path, answers), start=1):
        if number % _SHOWN_EVERY == 0:
            show(share)
        try:
            problem = _problem(row, f"{stem}-{number}", answers)
        except ProblemError as error:
            bad.append(f"{where}: {error}")
            continue
        if problem.id in first_use:
            bad.append(f"{where}: id {problem.id!r} is already used at {first_use[problem.id]}")
            continue
        first_use[problem.id] = where
        if problem.answer and (reason := check(problem.answer)):
            bad.append(f"{where}: answer {problem.answer!r:.80} {reason}")
            continue
        problems.append(problem)
    if bad:
        raise ProblemError(_named(bad, f"{path}: {len(bad)} of {len(problems) + len(bad)} rows cannot be used"))
    if not problems:
        raise ProblemError(f"{path}: no problems in this file")
    return problems


def _named(bad: Sequence[str], head: str) -> str:
    """A line for each of the first ten; one alone needs no head."""
    if len(bad) == 1:
        return bad[0]
    rest = [f"and {len(bad) - N_NAMED} more"] if len(bad) > N_NAMED else []
    return "\n  ".join([f"{head}:", *bad[:N_NAMED], *rest])


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


def _problem(row: Any, default_id: str, answers: Answers) -> Problem:
    """Raises ProblemError with the reason."""
    if isinstance(row, _Unreadable):
        raise ProblemError(row.reason)
    if not isinstance(row, dict):
        wanted = "problem and answer" if answers is Answers.NEEDED else "problem"
        raise ProblemError(f"wanted an object with {wanted}, got {type(row).__name__}")
    given_id = row.get("id")
    return Problem(
        id=default_id if given_id is None else _text(row, "id", number_too=True),
        text=_text(row, "problem"),
        answer=_answer(row) if answers is Answers.NEEDED or _has_taken(row, answers) else "",
        trace="" if row.get("trace") is None else _text(row, "trace"),
    )


def _has_taken(row: dict, answers: Answers) -> bool:
    return answers is Answers.TAKEN and row.get("answer") not in (None, "")


def _answer(row: dict) -> str:
    text = _text(row, "answer", number_too=True)
    return text if type(row["answer"]) is str else _in_digits(text)


def _in_digits(number: str) -> str:
    """The number as a person writes it, exactly: without an exponent, and without zeros behind the last decimal."""
    value = Decimal(number)
    if not value:
        return "0"
    if abs(value.adjusted()) > _MAX_EXPONENT:
        raise ProblemError(f"field 'answer' is {number:.40}: wanted a number of at most {_MAX_EXPONENT} digits")
    digits = f"{value:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _text(row: dict, field: str, number_too: bool = False) -> str:
    """The field as text. Raises ProblemError where it is missing, empty, of another type or not valid Unicode."""
    value = row.get(field)
    if value is None:
        why = " (answers may be missing where explore.labels needs none, as majority)" if field == "answer" else ""
        raise ProblemError(f"field {field!r} is missing; each row needs problem, answer{why}")
    is_number = isinstance(value, _Number | int | float | Decimal) and not isinstance(value, bool)
    if is_number and number_too:
        if not isinstance(value, int) and not Decimal(value).is_finite():
            raise ProblemError(f"field {field!r} is {value}, not a number")
        return str(value)
    if is_number or not isinstance(value, str):
        kind = "number" if is_number else type(value).__name__
        raise ProblemError(f"field {field!r} must be a string{' or a number' * number_too}, got a {kind}")
    if not value.strip():
        raise ProblemError(f"field {field!r} is empty")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ProblemError(f"field {field!r} holds half a surrogate pair, which is not text")
    return value


def _read_jsonl(path: Path, answers: Answers) -> _Rows:
    """The value of each line, at file:line; blank lines are skipped."""
    decode = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode
    n_bytes, n_read = os.path.getsize(path), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            n_read += len(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if not text.strip():
                    continue
                row = decode(text)
            except UnicodeDecodeError as error:
                row = _Unreadable(f"not UTF-8: {error.reason} at byte {error.start}")
            except (json.JSONDecodeError, RecursionError) as error:
                row = _Unreadable(f"not JSON: {error}")
            yield f"{path}:{number}", row, n_read / n_bytes


def _read_parquet(path: Path, answers: Answers) -> _Rows:
    """The columns of each row as a dict, at file row n, from 1."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        columns = [name for name in ("id", "problem", "answer", "trace") if name in schema.names]
        rows = file.read(columns=columns).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemError(f"{path}: not a Parquet file: {error}") from None
    wanted = ["problem", "answer"] if answers is Answers.NEEDED else ["problem"]
    if missing := [name for name in wanted if name not in columns]:
        raise ProblemError(f"{path}: column {sorted(missing)[0]!r} is missing; wanted {', '.join(wanted)}")
    narrow = _NARROW.get(str(schema.field("answer").type)) if "answer" in columns else None
    for number, row in enumerate(rows, start=1):
        if narrow and row["answer"] is not None:
            row["answer"] = _Number(narrow(row["answer"]))
        yield f"{path} row {number}", row, number / len(rows)


# A float32 of 0.1 is 0.10000000149 as a float of Python; in its own type it is spelled 0.1.
_NARROW = {"float": np.float32, "halffloat": np.float16}
