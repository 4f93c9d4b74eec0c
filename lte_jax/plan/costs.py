"""The best time of a run on a target: what its programs compute, read and send, over the chip's peak speeds.

A bound, not a forecast: every program runs at whichever peak it meets first, all else hidden behind it. Of memory only
arguments and results count, each once (in decoding once a token), of a run only its first round of sampling and its
updates, with prompts and responses of the whole budget unless another length is given.
"""

from collections import Counter
from dataclasses import dataclass

from lte_jax.config import Config
from lte_jax.engine.shapes import UpdateShapes
from lte_jax.plan.memory import Measured
from lte_jax.plan.targets import Target


@dataclass(frozen=True)
class Work:
    """What one device does in one run of a program, or in a step."""

    flops: float
    n_bytes: float
    sent: dict[str, list[float]]  # kind of transfer -> [how many, bytes that the device receives]

    def seconds(self, target: Target) -> dict[str, float]:
        """By what each would take alone at the chip's peak."""
        device = target.device
        received = sum(n_bytes for _, n_bytes in self.sent.values())
        return {
            "compute": self.flops / device.flops,
            "memory": self.n_bytes / device.bandwidth,
            "links": received / target.links,
        }


def work_of(measured: Measured, name: str) -> Work:
    """Of one run; of decoding, one token in every slot."""
    program = measured.programs[name]
    sent: dict[str, list[float]] = {}
    for one in program["collectives"]:
        count = sent.setdefault(one["kind"], [0, 0])
        count[0] += one["times"]
        count[1] += one["times"] * one["n_bytes"]
    n_bytes = program["arguments"] + (0 if name == "decode" else program["outputs"])
    return Work(program["flops"], n_bytes, sent)


def runs(config: Config, measured: Measured, target: Target, length: int) -> dict[str, float]:
    """How often each program runs in a step, as a multiple of the shape that was compiled."""
    sizes, shards = measured.sizes, measured.shards("mesh")
    n_problems = -(-config.problems_per_step // target.n_hosts)  # of one process
    n_rollouts = n_problems * config.sample.group_size
    shapes = UpdateShapes.of(config, shards)
    columns = shapes.n_columns(config.prompt.budget + length)
    rows = shapes.rows(columns)[-1]
    n_updates = config.problems_per_step // config.optim.problems_per_update
    n_micro = n_updates * -(-config.optim.problems_per_update * config.sample.group_size // rows)
    n_measured = -(-config.problems_per_step * config.sample.group_size // rows)
    share = rows * columns / (sizes["rows"] * sizes["row_columns"])  # of the compiled micro-batch
    return {
        "sampler_weights": 1,
        "prefill": -(-n_problems // sizes["prompts"]),
        "decode": length * max(1.0, n_rollouts / sizes["slots"]),
        "measure": n_measured * share,
        "accumulate": n_micro * share,
        "apply": n_updates,
    }


def step(config: Config, measured: Measured, target: Target, length: int) -> dict:
    """Of one step: work of one device, and seconds by program, each with what bounds it (None on a CPU: no peaks)."""
    times, sent, flops, n_bytes, seconds = runs(config, measured, target, length), {}, 0.0, 0.0, {}
    for name in measured.programs:
        work, n = work_of(measured, name), times[name]
        flops, n_bytes = flops + n * work.flops, n_bytes + n * work.n_bytes
        for kind, (count, received) in work.sent.items():
            total = sent.setdefault(kind, Counter())
            total.update(times=n * count, n_bytes=n * received)
        if target.device.flops:
            alone = work.seconds(target)
            bound = max(alone, key=alone.get)
            seconds[name] = {"runs": n, "seconds": n * alone[bound], "bound": bound}
    return {
        "flops": flops,
        "bytes": n_bytes,
        "collectives": {kind: dict(total) for kind, total in sent.items()},
        "programs": seconds or None,
        "seconds": sum(one["seconds"] for one in seconds.values()) or None,
        "tokens": config.problems_per_step * config.sample.group_size * length,
    }


def run(config: Config, of_step: dict, target: Target, price: float | None) -> dict | None:
    """Of the whole run; None where there are no peaks. `price`: of a chip for an hour, in any currency."""
    if of_step["seconds"] is None:
        return None
    hours = config.steps * of_step["seconds"] / 3600
    chip_hours = hours * target.n_chips
    return {
        "tokens_per_s": of_step["tokens"] / of_step["seconds"],
        "hours": hours,
        "chip_hours": chip_hours,
        "cost": None if price is None else chip_hours * price,
    }
