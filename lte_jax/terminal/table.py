"""Pipe tables that read alike in a terminal and in Markdown, and how measures are called in them."""

from collections.abc import Sequence


def name_of(measure: str) -> str:
    """pass_at_16 -> Pass@16."""
    return "none-pass" if measure == "none_pass_frac" else measure.replace("pass_at_", "Pass@")


def pipe_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading and a pipe table, the first column to the left and the others to the right; "" without rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([f"### {title}", "", line(header), rule, *map(line, rows)])
