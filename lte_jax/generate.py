"""Samples from a model: one prompt, or a file of problems."""

from collections.abc import Iterator, Sequence

from lte_jax.records import Problem
from lte_jax.rollout import GENERATE
from lte_jax.session import Session, with_prompts
from lte_jax.slots import Request


def generate(session: Session, problems: Sequence[Problem], n: int) -> Iterator[dict]:
    """`n` responses for each problem, as they finish: id, index, prompt, response, tokens, truncated, mean log-prob."""
    prompts = with_prompts(session, problems)
    owners = [(i, j) for i in range(len(prompts)) for j in range(n)]
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
