"""Runs the `lte` command as a user does: in a process of its own, on one CPU device."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "configs/quickstart.yaml"


def environment() -> dict[str, str]:
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


def lte(*arguments, check: bool = True) -> subprocess.CompletedProcess:
    """The finished process; with `check`, its output is shown where it failed."""
    command = [sys.executable, "-m", "lte_jax.cli", *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, cwd=ROOT, timeout=500)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def python(code: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done


def make_base(folder: Path, warmup_steps: int) -> list[str]:
    """A base model of the built-in task, and the overrides that train a run on it."""
    python(
        "from pathlib import Path; from lte_jax import config; from lte_jax.warmup import make_base;"
        f"c = config.load({str(QUICKSTART)!r}, ['warmup.steps={warmup_steps}']);"
        f"make_base(c, Path({str(folder)!r}), print)"
    )
    return [f"model.path={folder}/base", f"data.train={folder}/data/train.jsonl"]
