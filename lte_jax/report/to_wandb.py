"""Metrics to a Weights & Biases project. The run keeps its id in the run folder, so that a resumed run continues it."""

import json
from collections.abc import Mapping

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.paths import is_remote


class WandB:
    """One W&B run with the resolved settings as its config; neither code nor environment variables are sent by us.

    Steps that a resumed run repeats are dropped by W&B, which keeps what it was told first.
    """

    def __init__(self, project: str, run: epath.Path, settings: dict):
        try:
            import wandb
        except ImportError:
            raise ConfigError(f"log.wandb = {project} needs wandb: pip install 'lte_jax[wandb]'") from None
        kept = run / "wandb.json"
        known = json.loads(kept.read_text(encoding="utf-8"))["id"] if kept.is_file() else None
        self._run = wandb.init(
            project=project,
            name=run.name,
            id=known,
            resume="allow",
            dir=None if is_remote(run) else str(run),
            config=settings,
            save_code=False,
        )
        kept.write_text(json.dumps({"id": self._run.id}), encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
