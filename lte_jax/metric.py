"""What a metric is: declared once, beside what computes it; everything that shows metrics reads the declaration."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """`how` joins the values of an update's tokens: their mean, their largest, or their sum. Over the updates of a step
    means and sums are averaged; a `count` is summed there too. `panel`: the title of the report's chart that it stands
    in; empty: one that is there already, or none."""

    name: str  # noun/detail
    how: Literal["mean", "max", "sum", "count"] = "mean"
    panel: str = ""
    unit: str = ""


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Raises ValueError where two have one name."""
    found = {metric.name: metric for metric in metrics}
    if len(found) < len(metrics):
        raise ValueError(f"metrics declared twice: {sorted({m.name for m in metrics if found[m.name] is not m})}")
    return found
