"""Runs `lte` commands one after another in one process, so that what one has imported and compiled serves the next.

    python tests/lte_server.py COMMANDS_FD ANSWERS_FD OUTPUT_FOLDER

A line on the first file descriptor is the arguments as JSON; the answer is {"code": …}. What the command wrote to file
descriptors 1 and 2 lies in OUTPUT_FOLDER/stdout and stderr. commands.lte starts it, and a fresh process where the
environment is another.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def run(arguments: list[str]) -> int:
    """The exit code, as a process of its own would have it."""
    sys.argv = ["lte", *arguments]
    try:
        runpy.run_module("lte_jax.cli", run_name="__main__", alter_sys=True)
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(commands: int, answers: int, folder: Path) -> None:
    with open(commands, encoding="utf-8") as wanted, open(answers, "w", encoding="utf-8") as done:
        for line in wanted:
            for descriptor, name in ((1, "stdout"), (2, "stderr")):
                file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, descriptor)
                os.close(file)
            code = run(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            print(json.dumps({"code": code}), file=done, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
