"""What a step's phases and updates come to, as rows of metrics."""

import statistics
from collections.abc import Mapping, Sequence

from lte_jax.metric import Metric


def phase_metrics(
    seconds: Mapping[str, float], counts: Mapping[str, int], total_s: float, trained_tokens: float
) -> dict[str, float]:
    """Seconds and tokens/s by phase. Sampling is from the weight copy to the last harvest, as the device sees it;
    verdicts and hints ride along with it."""
    sample_s = sum(seconds.get(name, 0.0) for name in ("weights", "prefill", "decode", "device_wait"))
    return {
        **{f"time/{name}_s": round(value, 4) for name, value in seconds.items()},
        "time/sample_s": round(sample_s, 4),
        "time/step_s": round(total_s, 4),
        "sample/prefill_tokens": counts["prefill_tokens"],
        "sample/decode_steps": counts["decode_steps"],
        "sample/slot_steps": counts["slot_steps"],
        "sample/slot_use_frac": counts["tokens"] / counts["slot_steps"],
        "sample/tail_frac": counts.get("tail_slot_steps", 0) / counts["slot_steps"],
        "sample/cut_tokens": counts.get("cut_tokens", 0),
        "sample/shadow_tokens": counts.get("shadow_tokens", 0),
        "speed/sample_tokens_per_s": counts["tokens"] / sample_s,
        "speed/update_tokens_per_s": trained_tokens / seconds["update"],
    }


def combine(rows: Sequence[dict[str, float]], metrics: Mapping[str, Metric]) -> dict[str, float]:
    """One row for a step's updates: largest values, sums of counts, means of the rest, over those with the key."""
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: [row[key] for row in rows if key in row] for key in keys}
    joins = {"max": max, "count": sum}
    how = {key: joins.get(metrics[key].how if key in metrics else "mean", statistics.fmean) for key in keys}
    return {key: how[key](values[key]) for key in keys}
