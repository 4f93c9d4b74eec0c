"""Samples from a model: one prompt, or a file of problems whose responses are written as they finish.

Random keys depend on the seed and the place in the file alone, so a stopped command continues where it was; in float32
on a CPU with the same responses, in bfloat16 up to the rounding that goes with another layout.
"""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from lte_jax.engine.rollout import GENERATE
from lte_jax.host.problems import file_hash
from lte_jax.records import Problem, Request
from lte_jax.run.session import Session, with_prompts

SAMPLE_KEY = ("id", "index")  # what tells stored responses apart


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


def sample_settings(session: Session, source: Path, n: int) -> dict:
    """What decides which responses are drawn, and how many; layout and mesh do not."""
    config = session.config
    values = config.model_dump(mode="json")
    return {
        "file": file_hash(source),
        "model": str(session.model.source),
        "model.compute_dtype": config.model.compute_dtype,
        "seed": config.seed,
        "n": n,
        **{f"{section}.{key}": value for section in ("prompt", "sample") for key, value in values[section].items()},
    }
