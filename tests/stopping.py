"""Run as `python stopping.py INDEX COUNT PORT`: one of several processes that sample, meet, and do so again.

Process i samples i times as long as process 1, process 0 hardly at all. Prints each place as it is passed, and at the
end the place before which it stopped. No device is looked at, so nothing can be agreed through one.
"""

import sys
import time

import jax

from lte_jax.run.preempt import Preempted, Preemption

INDEX, COUNT, PORT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def main() -> None:
    jax.distributed.initialize(f"127.0.0.1:{PORT}", num_processes=COUNT, process_id=INDEX)
    with Preemption(10, print) as preemption:
        for place in range(100):
            try:
                for _ in range(20 * INDEX):
                    time.sleep(0.01)
                    preemption.look()
                preemption.meet()
            except Preempted:
                print(f"stopped before {place}", flush=True)
                raise
            print(f"passed {place}", flush=True)


if __name__ == "__main__":
    main()
