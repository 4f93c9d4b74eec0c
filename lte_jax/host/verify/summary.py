"""What `lte verify` prints of a file: a line per status, examples, and where two verifiers differ."""

from collections.abc import Iterator

_ORDER = ("equal", "different", "no_answer", "unparsable", "too_large", "bad_gold", "timeout", "crash")
_MEANING = {
    "equal": "correct",
    "different": "another value than the gold",
    "no_answer": "no final answer was found",
    "unparsable": "an answer was found and cannot be read",
    "too_large": "an answer past a limit",
    "bad_gold": "the gold itself cannot be graded",
    "timeout": "no verdict: too slow, twice",
    "crash": "no verdict: the worker ended, twice",
}
_AGAINST = {
    "both_correct": "both say correct",
    "both_wrong": "both say wrong",
    "only_ours": "correct by this verifier only",
    "only_other": "correct by {other} only",
    "other_failed": "{other} failed",
}


def summary_lines(summary: dict, output: str, other: str | None = None) -> Iterator[str]:
    """`summary`: what verify_file returns. `other`: the name of the other verifier, if there was one."""
    n = summary["n"]
    yield f"{summary['correct']} of {n} correct in {summary['seconds']:.1f} s -> {output}"
    examples = summary.get("examples", {})
    for status in _ORDER:
        if count := summary["by_status"].get(status, 0):
            yield f"  {status:<12}{count:>8}  {count / n:>6.1%}  {_MEANING[status]}"
            if status != "equal":
                yield from _examples(examples.get(status, []))
    if empty := summary["empty_golds"]:
        yield f"warning: {empty} of {n} golds are empty; their rows are bad_gold and never correct"
    if other is not None:
        yield f"against {other}:"
        for kind, meaning in _AGAINST.items():
            if count := summary["against"].get(kind, 0):
                yield f"  {count:>8}  {count / n:>6.1%}  {meaning.format(other=other)}"
                if kind.startswith("only"):
                    yield from _examples(examples.get(kind, []))


def _examples(examples: list[dict]) -> Iterator[str]:
    for example in examples:
        reason = example["reason"] or f"{example['extracted']} is {example['gold']}"
        yield f"      line {example['line']}: {reason}"
