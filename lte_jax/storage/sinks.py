"""Where metrics go beside the run's own files: TensorBoard and Weights & Biases, each only where `log` asks for it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from etils import epath

from lte_jax.config import Config
from lte_jax.storage.to_tensorboard import TensorBoard
from lte_jax.storage.to_wandb import WandB


class Sink(Protocol):
    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Sinks:
    """All of a run's sinks; none by default. Of several processes, one `writes`. Raises ConfigError where the package
    of a wanted sink is not installed."""

    def __init__(
        self, config: Config, run: epath.Path, writes: bool = True, say: Callable[[str], None] = lambda text: None
    ):
        self._sinks: list[Sink] = []
        if writes and config.log.tensorboard:
            self._sinks.append(TensorBoard(run / "tensorboard"))
        if writes and config.log.wandb:
            self._sinks.append(WandB(config.log.wandb, run, config.model_dump(mode="json"), say))

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """The numbers of a row, after `step` steps; histograms are left to the run's own files."""
        values = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "step"}
        for sink in self._sinks:
            sink.write(step, values)

    def write_evaluation(self, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        self.write(step, {f"eval/{name}/{key}": v for name, values in metrics.items() for key, v in values.items()})

    def __enter__(self) -> "Sinks":
        return self

    def __exit__(self, *exception) -> None:
        for sink in self._sinks:
            sink.close()
