"""The changing part of a terminal: what a job does now, how far it is, its key curves, and the latest rescue."""

from collections import deque
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
POINTS = 40  # of a curve: the latest
CURVES = {
    "reward/mean_before": "reward",
    "group/none_pass_frac_before": "none-pass",
    "group/none_pass_frac_after": "none-pass, mixed",
    "policy/entropy": "entropy",
    "response/length_mean": "length",
}


def bar(share: float) -> str:
    """A share, 0 to 1, as a bar in text: for what passes too soon to be a job of its own."""
    done = round(share * POINTS)
    return f"{'█' * done}{'░' * (POINTS - done)} {share:.0%}"


class Screen:
    """What is shown; fields are set as a job goes on. Empty ones take no line."""

    def __init__(self):
        self.now = ""
        self.rescue = ""
        self.n_done = self.n_steps = 0  # n_steps 0: no bar
        self.left = ""
        self._curves: dict[str, deque[float]] = {}
        self._spinner = Spinner("dots")

    def add(self, name: str, value: float) -> None:
        """A further point of a curve."""
        self._curves.setdefault(name, deque(maxlen=POINTS)).append(value)

    def __rich__(self) -> RenderableType:
        self._spinner.update(text=Text(self.now, no_wrap=True, overflow="ellipsis"))
        parts: list[RenderableType] = [self._spinner]
        if self.n_steps:
            bar = Table.grid(padding=(0, 2))
            shown = ProgressBar(total=self.n_steps, completed=self.n_done, width=POINTS)
            bar.add_row(f"step {self.n_done}/{self.n_steps}", shown, self.left)
            parts.append(bar)
        if self._curves:
            curves = Table.grid(padding=(0, 2))
            for name, values in self._curves.items():
                curves.add_row(Text(name), Text(sparkline(values), style="cyan"), f"{values[-1]:.4g}")
            parts.append(curves)
        if self.rescue:
            parts.append(Text(f"last rescue  {self.rescue}", no_wrap=True, overflow="ellipsis", style="green"))
        return Group(*parts)


def sparkline(values: Sequence[float]) -> str:
    """One block per value, from the lowest to the highest of them; low ones where all are equal."""
    low, high = min(values), max(values)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in values)
