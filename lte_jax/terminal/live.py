"""What a running job says: on a terminal, whole lines above a changing part (`screen`); in a log file, lines alone.

In a log, what merely passes (a phase, a count) is repeated only after the job has been silent for a while.
"""

import atexit
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live as Display

from lte_jax.records import Group
from lte_jax.terminal.responses import rescue_line, sample_table
from lte_jax.terminal.screen import CURVES, Screen

SILENCE_S = 20.0  # in a log file, progress is said again after this long without a line


class Pace:
    """Time left, from the rate between the first and the last mark of a window.

    The first mark starts the clock: what came before it (compiling, mostly) says nothing about the rest.
    """

    def __init__(self, window: int | None = 64):
        self._marks: deque[tuple[int, float]] = deque(maxlen=window)

    def left(self, n_done: int, n_total: int) -> str:
        """`left 3:05` after marking that `n_done` of `n_total` are done; `left ?` while there is no rate."""
        self._marks.append((n_done, time.monotonic()))
        (n_first, start), (n_last, end) = self._marks[0], self._marks[-1]
        if n_last <= n_first:
            return "left ?"
        return f"left {clock((end - start) / (n_last - n_first) * (n_total - n_done))}"


class Live:
    """Progress of one job. `quiet`: only warnings; `samples`: responses shown of each step that has a line.

    Text of models and problems is never interpreted as markup.
    """

    def __init__(self, every: int = 1, quiet: bool = False, samples: int = 0, file=None):
        plain = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
        self.console = Console(file=file or sys.stdout, **plain)
        self.every, self.quiet, self.samples = every, quiet, samples
        self._pace = Pace()
        self._phase = ""
        self._screen = Screen()
        self._display: Display | None = None
        self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text)
            self._last_line = time.monotonic()

    def warn(self, text: str) -> None:
        self.console.print(f"warning: {text}")

    def status(self, text: str) -> None:
        """What the job is doing now; it passes."""
        if self.quiet:
            return
        if not self.console.is_terminal:
            if time.monotonic() - self._last_line >= SILENCE_S:
                self.say(text)
            return
        self._screen.now = text
        if self._display is None:
            # it writes from a thread of its own, four times a second
            self._display = Display(self._screen, console=self.console, transient=True, refresh_per_second=4)
            self._display.start()
            atexit.register(self.close)  # a display that is never stopped leaves the terminal without a cursor

    def phase(self, step: int, name: str) -> None:
        """What the run is doing now; `step` steps are done."""
        self._phase = f"{step} steps done: {name}"
        self.status(self._phase)

    def progress(self, n_done: int, n_total: int) -> None:
        """How far the phase is, in responses."""
        self.status(f"{self._phase}, {n_done} of {n_total} responses")

    def step(self, step: int, n_steps: int, row: Mapping[str, Any], groups: Sequence[Group] = ()) -> None:
        """A finished step, `step` counted from 0: one line every `every` steps, with sample responses if wanted."""
        left = self._pace.left(step + 1, n_steps)
        self._screen.n_done, self._screen.n_steps, self._screen.left = step + 1, n_steps, left
        for key, name in CURVES.items():
            if key in row:
                self._screen.add(name, row[key])
        rescues = [line for group in groups if (line := rescue_line(group))]
        if rescues:
            self._screen.rescue = f"step {step + 1}: {rescues[-1]}"
        if (step + 1) % self.every and step + 1 != n_steps:
            return
        if self.samples and groups and not self.quiet:
            self.console.print(sample_table(step, groups, self.samples), soft_wrap=False)
        self.say("  ".join([f"step {step + 1}/{n_steps}", *_figures(row, groups), left]))

    def evaluation(self, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """What an evaluation after `step` steps found, one line per benchmark."""
        for name, values in metrics.items():
            self._screen.add(f"Pass@1 {name}", values["pass_at_1"])
            shown = "  ".join(f"{k} {v:.3f}" for k, v in values.items() if k.startswith("pass_at_"))
            self.say(f"after {step} steps  {name}  {shown}  ({values['n_problems']} problems)")

    def finish(self, run: Path, evaluation: Mapping[str, Any]) -> None:
        """The last evaluation in one line, and where everything is."""
        self.close()
        found = "  ".join(f"{name} Pass@1 {values['pass_at_1']:.3f}" for name, values in evaluation.items())
        self.say(f"finished: {run}  {found}".rstrip())
        self.say(f"  curves, rollouts and settings in a browser: lte report {run}")
        self.say(f"  metrics {run}/metrics, rollouts {run}/rollouts, evaluations {run}/eval")
        self.say(f"  model {run} (lte eval {run}, lte generate {run}, lte export-hf {run} FOLDER)")

    def close(self) -> None:
        if self._display is not None:
            atexit.unregister(self.close)
            self._display.stop()
            self._display = None


def clock(seconds: float) -> str:
    """3:05 or 2:03:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _figures(row: Mapping[str, Any], groups: Sequence[Group]) -> Iterator[str]:
    """What one line shows of a step's metrics, in order."""
    for key, name, digits in (
        ("reward/mean_before", "reward", 3),
        ("group/none_pass_frac_before", "none-pass", 3),
        ("group/none_pass_frac_after", "after", 3),
        ("rescue/hinted_rate", "rescued", 3),
        ("rescue/plain_rate", "rescued by extra", 3),
        ("policy/entropy", "entropy", 3),
        ("response/length_mean", "length", 1),
    ):
        if key in row:
            yield f"{name} {row[key]:.{digits}f}"
    if "update/objective" not in row:
        yield _no_update(row, groups)
    if "speed/sample_tokens_per_s" in row:
        yield f"{row['speed/sample_tokens_per_s']:.0f} tok/s"


def _no_update(row: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Why a step has no figures of an update: it had no rows, or they were not finite."""
    if row.get("update/n_updates"):
        return "update: its figures are not finite"
    n_undecided, n_rollouts = row.get("sample/undecided", 0), row.get("sample/rollouts", 0)
    if n_undecided and n_undecided == n_rollouts:
        return f"no update: none of {n_rollouts} rollouts has a verdict"
    members = [pair for group in groups for pair in zip(group.members, group.advantages, strict=False)]
    n_filtered = sum(advantage is None and rollout.decided for rollout, advantage in members)
    missing = [f"{n_undecided} of {n_rollouts} rollouts have no verdict"] if n_undecided else []
    filtered = [f"{n_filtered} truncated members are left out (overlong.filter)"] if n_filtered else []
    where = " among the others" if missing or filtered else ""
    return "; ".join([f"no update: every group has equal rewards{where}", *missing, *filtered])
