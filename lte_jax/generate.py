"""Samples from a model: one prompt, or a file of problems whose responses are written as they finish.

Random keys depend on the seed and the place in the file alone, so a stopped command continues where it was; in float32
on a CPU with the same responses, in bfloat16 up to the rounding that goes with another layout.
"""

import json
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from lte_jax.config import Config, ConfigError
from lte_jax.host.problems import file_hash
from lte_jax.records import Problem, Request
from lte_jax.rollout import GENERATE
from lte_jax.session import Session, with_prompts


def generate(
    session: Session, problems: Sequence[Problem], n: int, done: Container[tuple[str, int]] = ()
) -> Iterator[dict]:
    """`n` responses for each problem, as they finish: id, index, prompt, response, tokens, truncated, mean log-prob.

    `done`: (id, index) of those that are not drawn again.
    """
    prompts = with_prompts(session, problems)
    owners = [(i, j) for i in range(len(prompts)) for j in range(n) if (problems[i].id, j) not in done]
    requests = [Request(prompts[i][1], (session.config.seed, GENERATE, 0, i, 0, j)) for i, j in owners]
    for place, response in session.engine.generate(requests, session.sampling()):
        i, j = owners[place]
        yield {
            "id": problems[i].id,
            "index": j,
            "prompt": prompts[i][1].text,
            "response": session.tokenizer.decode(response.tokens.tolist()),
            "tokens": len(response.tokens),
            "truncated": response.truncated,
            "mean_logp": round(float(response.behaviour_logp.mean()), 6),
        }


class Output:
    """A JSONL file of responses. A line that a kill left half-written is cut; what is whole is in `done`.

    Beside it, FILE.settings.json says what the responses were drawn with. Raises ConfigError where that has changed.
    """

    def __init__(self, path: Path, config: Config, source: Path, n: int):
        self.path = path
        settings = _settings(config, source, n)
        beside = path.with_name(path.name + ".settings.json")
        if path.exists() and not beside.exists():
            raise ConfigError(f"{path}: there is such a file, and no {beside.name} that says how it was made")
        if path.exists():
            before = json.loads(beside.read_text(encoding="utf-8"))
            changed = [key for key in settings if settings[key] != before.get(key)]
            if changed:
                raise ConfigError(f"{path}: begun with other settings: {', '.join(changed)}; choose another file")
            whole = [line for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]
            path.write_bytes(b"".join(line + b"\n" for line in whole))
            self.done = {(row["id"], row["index"]) for row in map(json.loads, whole)}
        else:
            beside.write_text(json.dumps(settings, indent=1), encoding="utf-8")
            self.done = set()
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def write(self, row: dict) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()


def _settings(config: Config, source: Path, n: int) -> dict:
    """What decides which responses are drawn, and how many; layout and mesh do not."""
    values = config.model_dump(mode="json")
    return {
        "file": file_hash(source),
        "model.path": config.model.path,
        "model.compute_dtype": config.model.compute_dtype,
        "seed": config.seed,
        "n": n,
        **{f"{section}.{key}": value for section in ("prompt", "sample") for key, value in values[section].items()},
    }
