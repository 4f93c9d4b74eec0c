"""`lte verify FILE.jsonl --output OUT.jsonl`: grade a file of {gold, prediction} lines."""

import gzip
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lte_jax.config import VerifyConfig
from lte_jax.host.answers.reasons import reason, shown
from lte_jax.host.verify.against import Other
from lte_jax.host.verify.verifier import Verifier
from lte_jax.records import Verdict

_BATCH = 1_000
_GZIP = b"\x1f\x8b"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, of one packed with gzip too. A broken one is refused with the place."""
    with path.open("rb") as plain:
        packed = plain.read(2) == _GZIP
        plain.seek(0)
        number = 0
        try:
            for number, line in enumerate(gzip.open(plain) if packed else plain, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8; wanted a JSONL file in UTF-8"
            ) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: after line {number} the gzip file is broken: {error}") from error


def _read_rows(path: Path) -> Iterator[dict]:
    """Rows with the strings gold and prediction and, if given, truncated. A bad one is refused with its line."""
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path}:{number}: not JSON: {error}") from error
        for name in ("gold", "prediction"):
            if not isinstance(row, dict) or not isinstance(row.get(name), str):
                raise ValueError(
                    f"{path}:{number}: field '{name}' is missing or no string; each line needs gold, prediction"
                )
        if not isinstance(row.get("truncated", False), bool):
            raise ValueError(f"{path}:{number}: field 'truncated' is {row['truncated']!r}; wanted true or false")
        yield row | {"line": number}


def _check_output(path: Path, output: Path) -> None:
    """Refuses an output that is the input, by another name or link too, or that is a folder."""
    if output.is_dir():
        raise IsADirectoryError(21, "is a folder; wanted a file to write", str(output))
    if path.exists() and output.exists() and os.path.samefile(path, output):
        raise ValueError(f"{output}: the output is the input file {path}; name another one")


@dataclass
class _Tally:
    """What a file's verdicts come to."""

    n_examples: int
    statuses: Counter[str] = field(default_factory=Counter)
    against: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict]] = field(default_factory=dict)
    n_correct: int = 0

    def add(self, row: dict, result: dict[str, Any]) -> None:
        kinds = [result["status"]]
        self.statuses[result["status"]] += 1
        self.n_correct += result["correct"]
        if "other" in result:
            kinds.append(_compared(result["correct"], result["other"]))
            self.against[kinds[-1]] += 1
        for kind in kinds:
            kept = self.examples.setdefault(kind, [])
            if len(kept) < self.n_examples:
                extracted = result["extracted"]
                found = {"extracted": extracted if extracted is None else shown(extracted), "reason": result["reason"]}
                kept.append({"line": row["line"], "gold": shown(row["gold"])} | found)


def _compared(ours: bool, other: bool | None) -> str:
    if other is None:
        return "other_failed"
    return "both_" + ("correct" if ours else "wrong") if ours == other else "only_ours" if ours else "only_other"


def _result(row: dict, verdict: Verdict, config: VerifyConfig, other: Other | None) -> dict[str, Any]:
    why = reason(verdict, row.get("truncated", False), config.conventions)
    result = {"correct": verdict.correct, "status": verdict.status.value, "extracted": verdict.extracted}
    result |= {"rule": verdict.rule, "reason": why}
    return result | ({"other": other(row["gold"], row["prediction"])} if other else {})


def verify_file(
    path: str | Path,
    output: str | Path,
    n_examples: int = 0,
    other: Other | None = None,
    progress: Callable[[int, int], None] = lambda n_done, n_rows: None,
    **settings,
) -> dict:
    """Write {id?, correct, status, extracted, rule, reason} for each line of `path`, in order. `settings`: fields of
    VerifyConfig. `other`: another verifier, whose verdict each row gets as `other`.

    Nobody waits for a batch of a file, so its deadline is long enough for every row to fail twice. Returns n,
    correct, by_status, empty_golds, seconds; `examples` by status where some are wanted; `against` where there is
    another verifier. All rows are read before anything is written; `output` appears whole or not at all.
    """
    start = time.monotonic()
    path, output = Path(path), Path(output)
    _check_output(path, output)
    rows = list(_read_rows(path))
    config = VerifyConfig(**settings)
    patience_s = 2 * _BATCH * config.timeout_s
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    tally = _Tally(n_examples)
    try:
        with (
            Verifier(**settings | {"batch_timeout_s": patience_s}) as verifier,
            unfinished.open("w", encoding="utf-8") as lines,
        ):
            for begin in range(0, len(rows), _BATCH):
                batch = rows[begin : begin + _BATCH]
                verdicts = verifier.grade_many(
                    [(row["gold"], row["prediction"], row.get("truncated", False)) for row in batch]
                )
                for row, verdict in zip(batch, verdicts, strict=True):
                    result = _result(row, verdict, config, other)
                    lines.write(json.dumps(({"id": row["id"]} if "id" in row else {}) | result) + "\n")
                    tally.add(row, result)
                progress(begin + len(batch), len(rows))
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    summary = {
        "n": len(rows), "correct": tally.n_correct, "by_status": dict(tally.statuses),
        "empty_golds": sum(not row["gold"].strip() for row in rows), "seconds": time.monotonic() - start,
    }  # fmt: skip
    summary |= {"against": dict(tally.against)} if other else {}
    return summary | ({"examples": tally.examples} if n_examples else {})
