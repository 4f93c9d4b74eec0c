"""What the second round costs at best, in slot-steps: the bench `rounds` of bench/rollout.py with an engine that
refills a slot in the very step in which it falls free, and has verdicts at once.

    python bench/rounds_bound.py [--seeds 300]

One JSON line: (LTE - GRPO) / (LTE with a barrier - GRPO), median, 5th and 95th percentile over draws of the lengths.
"""

import argparse
import heapq
import json
from collections import deque

import numpy as np
from workers import CAP, GROUP, MEAN, N_GROUPS, N_NONE_PASS

SLOTS = 32


def steps(lengths, failed: set[int], when: str) -> int:
    """Decode steps until all is drawn. `lengths`: [round, group, index]; `when` the failed groups draw their second
    round: never, as soon as they are finished, or after the whole first round (barrier)."""
    waiting = deque((0, group, index) for group in range(N_GROUPS) for index in range(GROUP))
    running: list[tuple[int, int, int]] = []  # (last step, round, group)
    left = dict.fromkeys(range(N_GROUPS), GROUP)
    now = 0
    while waiting or running:
        while waiting and len(running) < SLOTS:
            round_, group, index = waiting.popleft()
            heapq.heappush(running, (now + int(lengths[round_][group][index]), round_, group))
        now, round_, group = heapq.heappop(running)
        left[group] -= round_ == 0
        asks = round_ == 0 and left[group] == 0 and group in failed
        if when == "at once" and asks:
            waiting.extend((1, group, index) for index in range(GROUP))
        if when == "barrier" and not waiting and not running and round_ == 0:
            waiting.extend((1, group, index) for group in sorted(failed) for index in range(GROUP))
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=300)
    ratios = []
    for seed in range(parser.parse_args().seeds):
        rng = np.random.default_rng(seed)
        lengths = np.minimum(rng.geometric(1 / MEAN, (2, N_GROUPS, GROUP)), CAP)
        failed = set(rng.choice(N_GROUPS, N_NONE_PASS, replace=False).tolist())
        grpo, lte, barrier = (steps(lengths, failed, when) for when in ("never", "at once", "barrier"))
        ratios.append((lte - grpo) / (barrier - grpo))
    found = [round(float(value), 3) for value in np.percentile(ratios, [50, 5, 95])]
    print(json.dumps({"bench": "rounds_bound", "seeds": len(ratios), "cost_of_the_second_round": found}))


if __name__ == "__main__":
    main()
