"""A study of several bases: the paired differences of each, and their interval over bases.

The base is the unit: seeds of one base share its facts and its mistakes, so more seeds are not more evidence. A base's
value is the mean over its seeds; the interval over bases is Student's t.
"""

from collections.abc import Mapping

from lte_jax.study.summary import FEWEST, difference_of
from lte_jax.study.tables import DIFFERENCE, difference_row
from lte_jax.terminal.table import name_of, pipe_table

WHERE = {"end": "at the end", "tokens": "at equal sampled tokens", "seconds": "at equal seconds"}


def over_bases(summaries: Mapping[str, Mapping]) -> dict:
    """{paired: {reference: {arm: {where: {measure: difference over bases, with each base's own in `bases`}}}}} and the
    measures at the end by base. `summaries`: what a study of each base gave, with the same arms."""
    first = next(iter(summaries.values()))
    paired = {
        reference: {
            arm: {
                where: {measure: _difference(summaries, reference, arm, where, measure) for measure in measures}
                for where, measures in places.items()
            }
            for arm, places in arms.items()
        }
        for reference, arms in first["paired"].items()
    }
    ends = {
        base: {
            arm: {measure: figures["by_step"][-1][measure] for measure in summary["measures"]}
            for arm, figures in summary["arms"].items()
        }
        for base, summary in summaries.items()
    }
    return {"held_out": first["held_out"], "measures": first["measures"], "ends": ends, "paired": paired}


def _difference(summaries: Mapping[str, Mapping], reference: str, arm: str, where: str, measure: str) -> dict | None:
    """By base, where the base has the pair. The units are named `by_seed`, as in every spread: here they are bases."""
    bases = {base: found["paired"][reference][arm][where][measure] for base, found in summaries.items()}
    found = difference_of({base: values["mean"] for base, values in bases.items() if values})
    return found and {**found, "bases": bases}


def bases_table(found: Mapping) -> str:
    """The ends of every arm by base, then the differences: over bases first, every base with every seed below."""
    parts = [_ends(found, measure) for measure in found["measures"]]
    for where, said in WHERE.items():
        rows = []
        for reference, arms in found["paired"].items():
            for arm, places in arms.items():
                values = places[where]["pass_at_1"]
                rows.append(difference_row(f"{arm} - {reference}, bases", values))
                rows += [
                    difference_row(f"  {base}, seeds", of) for base, of in (values or {"bases": {}})["bases"].items()
                ]
        title = f"{found['held_out']}: paired differences of Pass@1 {said}, over bases and over seeds"
        parts.append(pipe_table(title, DIFFERENCE, rows))
    return "\n\n".join([*filter(None, parts), _verdicts(found)]) + "\n"


def _ends(found: Mapping, measure: str) -> str:
    bases = list(found["ends"])
    arms = list(found["ends"][bases[0]])
    rows = [[arm, *(f"{found['ends'][base][arm][measure]['mean']:.3f}" for base in bases)] for arm in arms]
    return pipe_table(f"{found['held_out']}: {name_of(measure)} at the end, mean over seeds", ["arm", *bases], rows)


def _verdicts(found: Mapping) -> str:
    """One line for each pair and place: what the interval over bases says of Pass@1."""
    lines = []
    for reference, arms in found["paired"].items():
        for arm, places in arms.items():
            for where, said in WHERE.items():
                values = places[where]["pass_at_1"]
                if values:
                    lines.append(f"- {arm} against {reference} {said}: {_verdict(values)}")
    n = len(lines)
    note = f"{n} intervals at 95%, each for itself: about {n / 20:.1f} of {n} would leave out 0 by chance."
    return "\n".join([*lines, note]) if lines else ""


def _verdict(values: Mapping) -> str:
    if values["apart"] is None:
        return f"too few bases to say; wanted {FEWEST} or more."
    if not values["apart"]:
        return "not significant."
    return f"significant, {'better' if values['mean'] > 0 else 'worse'} by {abs(values['mean']):.3f}."
