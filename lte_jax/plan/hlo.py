"""Reads a compiled program's text (XLA HLO): what it sends between chips, and its largest arrays.

Counts are per run of the program: what stands in a loop over layers or chunks counts as often as the loop turns. A loop
whose end depends on data (decoding) turns once, and what only a data-dependent branch does is left out.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
N_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\((.*)")
_ARRAY = re.compile(r"([a-z]{1,8}\d{0,4})\[([\d,]*)\]")
_CALL = re.compile(
    r"(condition|body|to_apply|calls|branch_computations|true_computation|false_computation)=\{?([^,}]+(?:, %[^,}]+)*)"
)


@dataclass(frozen=True)
class Collective:
    """One logical transfer between chips. `n_bytes`: what each chip receives each time, at least."""

    kind: str
    n_bytes: int
    times: int
    group: int  # chips that take part together
    source: str  # the operation that it comes from


def collectives(text: str) -> list[Collective]:
    """Every transfer of one run. A TPU splits one all-gather over the fusions that it overlaps with: counted once."""
    computations = _computations(text)
    times, found, seen = _multiplicities(computations), [], set()
    for name, lines in computations.items():
        if not times[name]:
            continue
        for line in lines:
            if match := _COLLECTIVE.search(line):
                shape, kind, started, rest = match.groups()
                channel = re.search(r"channel_id=(\d+)", rest)
                piece = (kind, channel and channel[1])
                if "fus" in name and kind == "all-gather":
                    if piece in seen:
                        continue
                    seen.add(piece)
                found.append(_collective(name, shape, kind, bool(started), rest, times[name]))
    return [one for one in found if one.group > 1]


def _collective(computation: str, shape: str, kind: str, started: bool, rest: str, times: int) -> Collective:
    named = [(dtype, dims) for dtype, dims in arrays_in(shape) if dtype in N_BYTES]
    if started:  # a permute's start names two counters as well
        named = [(dtype, dims) for dtype, dims in named if dims or dtype != "u32"]
    arrays = [math.prod(dims) * N_BYTES[dtype] for dtype, dims in named]
    source = re.search(r'op_name="([^"]*)"', rest)
    group = 2 if kind == "collective-permute" else _group_size(rest)
    operands, results = arrays, arrays
    if started and kind != "all-reduce":  # the shape of a start names what goes in, then what comes out
        operands, results = arrays[: (len(arrays) + 1) // 2], arrays[len(arrays) // 2 :]
    elif kind == "reduce-scatter":
        operands = [n * group for n in results]
    if kind == "all-reduce" and "all-reduce-scatter" in computation:  # how a TPU spells it
        kind = "reduce-scatter"
    share = (group - 1) / group
    received = {
        "all-gather": sum(results) * share,
        "all-reduce": 2 * sum(results) * share,
        "reduce-scatter": sum(operands) * share,
        "all-to-all": sum(results) * share,
        "collective-permute": max(results, default=0),
    }
    return Collective(kind, int(received[kind]), times, group, source[1] if source else "")


def arrays_in(text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(type, shape) of every array that the text names."""
    for dtype, dims in _ARRAY.findall(text):
        yield dtype, tuple(int(d) for d in dims.split(",") if d)


def shapes(text: str) -> Counter:
    """How often each (type, shape) is the result of an operation outside of fusions, which keep theirs in registers."""
    found: Counter = Counter()
    for name, lines in _computations(text).items():
        if "fused" not in name:
            found.update(array for line in lines for array in arrays_in(line.partition(" = ")[2].partition("(")[0]))
    return found


def n_copies(text: str, shape: tuple[int, ...]) -> int:
    """Copies and transposes whose result has as many entries as an array of this shape, in whatever order of axes."""
    wanted = sorted(d for d in shape if d > 1)
    results = re.findall(r"= ([a-z]+\d*\[[\d,]*\])\S* (?:copy|copy-start|transpose)\(", text)
    return sum(sorted(d for d in dims if d > 1) == wanted for result in results for _, dims in arrays_in(result))


def _computations(text: str) -> dict[str, list[str]]:
    """Lines of each computation, by name; the entry's name is `ENTRY`."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            lines = found.setdefault("ENTRY" if match[1] else match[2], [])
        else:
            lines.append(line)
    return found


def _multiplicities(computations: dict[str, list[str]]) -> dict[str, int]:
    """How often each computation runs in one run of the entry."""
    times: dict[str, int] = defaultdict(int)

    def run(name: str, n: int) -> None:
        times[name] += n
        for line in computations.get(name, ()):
            if "%" not in line or " conditional(" in line:
                continue
            turns = _turns(line, computations) if " while(" in line else 1
            for role, names in _CALL.findall(line):
                if role == "to_apply" and " call(" not in line:
                    continue
                for called in names.replace("%", "").split(", "):
                    run(called.strip(), n * (turns if role in ("body", "condition") else 1))

    run("ENTRY", 1)
    return times


def _turns(line: str, computations: dict[str, list[str]]) -> int:
    """Turns of a loop: as the compiler noted, or the constant that its counter is compared with; else 1."""
    if noted := re.search(r"known_trip_count[^\d]*(\d+)", line):
        return int(noted[1])
    condition = computations.get(re.search(r"condition=%?([\w.\-]+)", line)[1], ())
    root = next((line for line in condition if "ROOT" in line), "")
    limits = [re.search(r" constant\((\d+)\)", line) for line in condition]
    limits = [int(limit[1]) for limit in limits if limit]
    return limits[0] if "direction=LT" in root and len(limits) == 1 else 1


def _group_size(rest: str) -> int:
    """Chips that take part together, from any of the three ways in which replica groups are written."""
    if axes := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", rest):
        sizes = dict(pair.split("=") for pair in axes[1].split(","))
        return math.prod(int(sizes[name.strip()]) for name in axes[2].split(",") if name.strip())
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", rest):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return len(listed[1].split(","))
    return 2  # no groups are written: all chips
