"""Do two checkouts train the same, bit for bit? Short runs of every strategy and option, side by side.

    python bench/same_training.py OLD NEW [--only NAME ...] [--devices 1 8] [--steps 3]

Both checkouts train from one base (which OLD makes) on one problem file, on 1 and on 8 virtual CPU devices. Compared
are metrics (without times), rollouts, and the final weights and optimiser state. What OLD writes must be in NEW with the
same value; what NEW adds is listed. The first difference of each run is named, and the exit status is 1 where there is one.
Where a redesign sums what is only shown in another order, `--metric-ulps N` lets metrics differ by so many units of
float32's last place, and the largest is printed; rollouts, weights and optimiser state stay exact.
Bits hold on one machine only, so nothing is kept from run to run: use it before and after a redesign.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RUNS = {
    "grpo": ["explore.strategy=grpo"],
    "extra": ["explore.strategy=extra"],
    "lte": ["explore.strategy=lte"],
    "lte-random": ["explore.strategy=lte", "explore.hints=random"],
    "luffy": ["explore.strategy=luffy", "loss.hinted_denominator=one"],
    "rounds": ["explore.strategy=lte", "explore.rounds=2", "explore.drop_leaking=true", "explore.keep_failed=2"],
    "kl": ["loss.kl=k3", "loss.old_logp=trainer", "loss.correction=truncate", "loss.normaliser=token_mean_by_part"],
    "kl-in-reward": ["loss.kl=k1", "loss.on_policy_objective=dual_clip", "loss.hinted_objective=ratio"],
    "entropy": ["loss.entropy_coef=0.01", "loss.ratio=sequence", "loss.normaliser=sequence_mean"],
    "adaptive": ["loss.entropy_schedule=adaptive", "loss.on_policy_objective=cispo", "advantage.baseline=mean"],
    "resample": [
        "explore.strategy=extra",
        "advantage.zero_variance=resample",
        "overlong.shaping=soft",
        "overlong.buffer=8",
    ],
    "rl-zvp": ["advantage.zero_variance=entropy", "advantage.baseline=leave_one_out", "overlong.filter=true"],
}
SIZES = ["problems_per_step=8", "optim.problems_per_update=4", "sample.group_size=4", "engine.slots=32"]
READ_WEIGHTS = """
import hashlib, sys
from functools import partial
from pathlib import Path
import jax, numpy as np
import orbax.checkpoint as ocp
here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
for run in sys.argv[1:]:
    newest = max((Path(run) / "checkpoints").iterdir(), key=lambda path: int(path.name))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        read = partial(reader.restore, args=ocp.args.StandardRestore(fallback_sharding=here))
        trees = [read((newest / item).absolute()) for item in ("params", "optimiser")]
    leaves = jax.tree.leaves(trees)
    print(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), help="runs to make")
    parser.add_argument("--devices", nargs="+", type=int, default=[1, 8], help="virtual CPU devices")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--metric-ulps", type=float, default=0.0, help="what metrics may differ by, float32 ulps")
    parser.add_argument(
        "--folder", type=Path, help="where base and OLD's runs stay for further calls; else a temporary one"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-training-") as made:
        folder = (options.folder or Path(made)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        different = [name for name, said in compare_all(options, folder) if said]
    print(json.dumps({"compared": len(options.only) * len(options.devices), "different": different}))
    sys.exit(bool(different))


def compare_all(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str | None]]:
    """(run, first difference or None) of each run on each number of devices, printed as it comes."""
    make_base(options.old, folder)
    for n_devices in options.devices:
        for name in options.only:
            runs = []
            for side, checkout in (("old", options.old), ("new", options.new)):
                run = folder / f"{name}-{n_devices}-{options.steps}-{side}"
                if side == "new":
                    shutil.rmtree(run, ignore_errors=True)
                if not (run / "rollouts" / f"{options.steps - 1:06d}.jsonl").exists():  # of OLD, from an earlier call
                    train(checkout, folder, RUNS[name], run, n_devices, options.steps)
                runs.append(run)
            seen = Seen(options.metric_ulps)
            said = next(differences(*runs, options.new, seen), None)
            print(f"{name}, {n_devices} devices: {said or 'the same'}{seen.notes()}", flush=True)
            yield f"{name}-{n_devices}", said


def make_base(checkout: Path, folder: Path) -> None:
    """A base model of the built-in task, its problems, and the same problems with worked solutions as traces."""
    if not (folder / "base" / "config.json").is_file():
        python(
            checkout, 1, "-m", "lte_jax.cli", "warmup", "configs/quickstart.yaml", "warmup.steps=200", "--run", folder
        )
    rows = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]
    with (folder / "traces.jsonl").open("w") as file:
        for row in rows:
            a, b, c = map(int, re.fullmatch(r"\( (\d+) \+ (\d+) \) \* (\d+)", row["problem"]).groups())
            first, last = (a + b) % 13, (a + b) * c % 13
            row["trace"] = f"{a} + {b} = {first} ; {first} * {c} = {last} ; \\boxed{{ {last} }}"
            file.write(json.dumps(row) + "\n")


def train(checkout: Path, folder: Path, overrides: list[str], run: Path, n_devices: int, steps: int) -> None:
    data = folder / ("traces.jsonl" if "explore.strategy=luffy" in overrides else "data/train.jsonl")
    settings = [f"model.path={folder}/base", f"data.train={data}", f"steps={steps}", "eval.every=0", *SIZES, *overrides]
    python(checkout, n_devices, "-m", "lte_jax.cli", "train", "configs/quickstart.yaml", *settings, "--run", run,
           cache=folder / "cache")  # fmt: skip


def python(checkout: Path, n_devices: int, *arguments, cache: Path | None = None) -> str:
    """What a Python process in the checkout prints; stops the comparison where it fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout.absolute()),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n_devices}".strip(),
        **({"JAX_COMPILATION_CACHE_DIR": str(cache)} if cache else {}),
    }
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@dataclass
class Seen:
    """What is no difference but is said: names that only NEW writes, and how far metrics are apart."""

    allowed_ulps: float
    new_names: set[str] = field(default_factory=set)
    ulps: float = 0.0

    def notes(self) -> str:
        said = [f"metrics within {self.ulps:.1f} ulps"] if self.ulps else []
        said += [f"new has also: {', '.join(sorted(self.new_names))}"] if self.new_names else []
        return f" ({'; '.join(said)})" if said else ""

    def near(self, where: str, old, new) -> bool:
        if not (self.allowed_ulps and where.startswith("metrics") and {type(old), type(new)} <= {int, float}):
            return False
        ulps = abs(old - new) / max(abs(old), abs(new)) * 2**23
        self.ulps = max(self.ulps, ulps)
        return ulps <= self.allowed_ulps


def differences(old: Path, new: Path, checkout: Path, seen: Seen) -> Iterator[str]:
    """Where rollouts, metrics and weights differ."""
    for kind in ("rollouts", "metrics"):
        rows = [
            [
                json.loads(line)
                for path in sorted((run / kind).glob("*.jsonl"))
                for line in path.read_text().splitlines()
            ]
            for run in (old, new)
        ]
        yield from unequal(kind, *rows, seen)
    before, after = python(checkout, 1, "-c", READ_WEIGHTS, old, new).split()
    if before != after:
        yield f"final weights or optimiser state: {before[:12]} before, {after[:12]} now"


def unequal(where: str, old, new, seen: Seen) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        added = [key for key in new.keys() - old.keys() if not key.startswith(("time/", "speed/"))]
        seen.new_names |= {re.sub(r"\[\d+\]", "", f"{where}.{key}") for key in added}
        for key, value in old.items():
            if key.startswith(("time/", "speed/")):
                continue
            if key not in new:
                yield f"{where}.{key} is missing"
            else:
                yield from unequal(f"{where}.{key}", value, new[key], seen)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from unequal(f"{where}[{place}]", before, after, seen)
    elif old != new and not seen.near(where, old, new):
        yield f"{where}: {old!r:.80} before, {new!r:.80} now"


if __name__ == "__main__":
    main()
