"""`lte verify FILE.jsonl --output OUT.jsonl`: grade a file of {gold, prediction} lines."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lte_jax.config import VerifyConfig
from lte_jax.host.verify.verifier import Verifier

_BATCH = 1_000


def _read_rows(path: Path) -> Iterator[dict]:
    """Rows with string fields gold and prediction. A bad one is refused with its line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: not JSON: {error}") from error
            for field in ("gold", "prediction"):
                if not isinstance(row, dict) or not isinstance(row.get(field), str):
                    raise ValueError(
                        f"{path}:{number}: field '{field}' is missing or no string; each line needs gold, prediction"
                    )
            yield row


def verify_file(path: str | Path, output: str | Path, **settings) -> dict:
    """Write {id?, correct, status, extracted} for each line of `path`, in order. `settings`: fields of VerifyConfig.

    Nobody waits for a batch of a file, so its deadline is long enough for every row to fail twice. Returns n,
    correct, by_status, seconds. All rows are read before anything is written; `output` appears whole or not at all.
    """
    start = time.monotonic()
    rows = list(_read_rows(Path(path)))
    patience_s = 2 * _BATCH * VerifyConfig(**settings).timeout_s
    output = Path(output)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    statuses: Counter[str] = Counter()
    n_correct = 0
    try:
        with (
            Verifier(**settings | {"batch_timeout_s": patience_s}) as verifier,
            unfinished.open("w", encoding="utf-8") as lines,
        ):
            for begin in range(0, len(rows), _BATCH):
                batch = rows[begin : begin + _BATCH]
                verdicts = verifier.grade_many([(row["gold"], row["prediction"], False) for row in batch])
                for row, verdict in zip(batch, verdicts, strict=True):
                    identity = {"id": row["id"]} if "id" in row else {}
                    result = {"correct": verdict.correct, "status": verdict.status, "extracted": verdict.extracted}
                    lines.write(json.dumps(identity | result) + "\n")
                    statuses[verdict.status.value] += 1
                    n_correct += verdict.correct
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return {"n": len(rows), "correct": n_correct, "by_status": dict(statuses), "seconds": time.monotonic() - start}
