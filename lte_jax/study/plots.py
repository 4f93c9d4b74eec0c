"""The picture of a study: held-out Pass@1 by step, tokens and seconds, and how stagnation falls in training."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a file, no window

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from lte_jax.report.runs import RunLog, interpolated  # noqa: E402

# Okabe and Ito's palette, which colour-blind readers tell apart; the dashes tell arms apart without colour.
COLOURS = ("#555555", "#D55E00", "#0072B2", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-", ":", "-.", "--", ":")
N_GRID = 60  # points of a line over tokens or seconds, which differ from run to run
SMOOTHED = 9  # steps of the moving mean over training groups

Line = list[tuple[float, float]]


def plot_curves(path: Path, title: str, held_out: str, arms: Mapping[str, Sequence[RunLog]]) -> None:
    """Writes a PNG: one line per arm, the mean over seeds, in a band from the lowest seed to the highest."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    panels = (
        ("by step", "steps", partial(_held_out, held_out, "step")),
        ("by response tokens sampled", "thousand tokens", partial(_held_out, held_out, "tokens", scale=1e-3)),
        ("by wall time of training steps", "seconds", partial(_held_out, held_out, "seconds")),
    )
    for ax, (name, label, line_of) in zip(axes.flat, panels, strict=False):
        _draw(ax, arms, line_of)
        ax.set_title(name, fontsize=10)
        ax.set(xlabel=label, ylabel=f"Pass@1, {held_out}")
    stagnation = axes.flat[-1]
    _draw(stagnation, arms, _none_pass)
    stagnation.set_title(f"training groups before mixing, mean over {SMOOTHED} steps", fontsize=10)
    stagnation.set(xlabel="steps", ylabel="none-pass share", ylim=(0, None))
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw(ax: Axes, arms: Mapping[str, Sequence[RunLog]], line_of: Callable[[RunLog], Line]) -> None:
    for i, (arm, runs) in enumerate(arms.items()):
        xs, by_seed = _on_one_grid([line_of(log) for log in runs])
        columns = list(zip(*by_seed, strict=True))
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
        ax.plot(xs, [sum(column) / len(column) for column in columns], label=arm, linewidth=2, **style)
        ax.fill_between(xs, list(map(min, columns)), list(map(max, columns)), color=style["color"], alpha=0.13, lw=0)
    ax.grid(alpha=0.3)
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)


def _held_out(benchmark: str, x: str, log: RunLog, scale: float = 1.0) -> Line:
    return [(point[x] * scale, point["pass_at_1"]) for point in log.points(benchmark)]


def _none_pass(log: RunLog) -> Line:
    shares = [row["group/none_pass_frac_before"] for row in log.rows]
    half = SMOOTHED // 2
    windows = [shares[max(0, i - half) : i + half + 1] for i in range(len(shares))]
    return [(i, sum(window) / len(window)) for i, window in enumerate(windows)]


def _on_one_grid(lines: Sequence[Line]) -> tuple[list[float], list[list[float]]]:
    """(xs, ys of every line at them): the lines' own xs where they agree, else a grid up to the shortest line's end."""
    own = [[x for x, _ in line] for line in lines]
    if all(xs == own[0] for xs in own):
        return own[0], [[y for _, y in line] for line in lines]
    start, end = max(xs[0] for xs in own), min(xs[-1] for xs in own)
    grid = [start + (end - start) * i / (N_GRID - 1) for i in range(N_GRID - 1)] + [end]
    return grid, [[interpolated([x for x, _ in line], [y for _, y in line], x) for x in grid] for line in lines]


def plot_differences(path: Path, title: str, paired: Mapping[str, Mapping[str, Mapping]]) -> None:
    """Writes a PNG: for each pair of arms the mean over bases with its interval, and a dot for every seed of a base."""
    lines = [
        (f"{arm} - {reference}", places["end"]["pass_at_1"])
        for reference, arms in paired.items()
        for arm, places in arms.items()
        if places["end"]["pass_at_1"]
    ]
    figure, ax = plt.subplots(figsize=(9, 1.5 + 0.5 * len(lines)), layout="constrained")
    for y, (_, values) in enumerate(lines):
        for i, found in enumerate(filter(None, values["bases"].values())):
            xs = list(found["by_seed"].values())
            ax.plot(xs, [y + 0.15 + 0.08 * i] * len(xs), ".", color=COLOURS[(i + 1) % len(COLOURS)])
        low, high = values["interval"] or (values["mean"], values["mean"])
        ax.plot([low, high], [y, y], color="black", lw=2)
        ax.plot([values["mean"]], [y], "D", color="black")
    ax.axvline(0, color="#555555", lw=1)
    ax.set_yticks(range(len(lines)), [name for name, _ in lines])
    ax.set_ylim(len(lines) - 0.3, -0.7)  # the first on top
    ax.set(xlabel="difference of Pass@1; line: 95% interval over bases; dots: seeds, one colour a base", title=title)
    ax.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=150)
    plt.close(figure)
