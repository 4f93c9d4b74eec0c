"""The update against torch, and a whole GRPO step against TRL.

    python bench/update.py step   [--shape T|S7]    one train step, the same clipped objective
    python bench/update.py forced                   GRPO step, every response 128 tokens
    python bench/update.py ragged                   GRPO step, lengths as drawn: mean 64, cap 256
    python bench/update.py gpu    [--shapes S 4B]   train step in bfloat16: MFU, beside torch

One JSON line each; pairs and figures as in bench/rollout.py. A GRPO step is 4 prompts of 64 tokens, 8 responses each,
verdicts, one update; ours computes in float32. `step` needs the extra `parity`, the GRPO steps need TRL beside it:
pip install trl datasets accelerate.
"""

import argparse
import json
import sys
from pathlib import Path

from rollout import measure, ratios, spread
from workers import SHAPES

GPU_ROWS = ((16, 1024), (4, 4096))
COLUMNS = {"T": (16, 192), "S7": (2, 192)}  # rows and their length


def per_step(runs: list[dict]) -> dict:
    return {key: spread([run[key] for run in runs]) for key in ("cpu_s", "wall_s", "tokens")}


def compare(options: dict, pairs: int) -> dict:
    """Both sides by turns. Where lengths are drawn, tokens differ: ratios are of tokens a second."""
    work = options["bench"]
    ours, peer = measure(options, pairs, f"ours.{work}", f"peer.{work}")
    return {"ours": per_step(ours), f"peer {options['peer']}": per_step(peer), **ratios(ours, peer)}


def gpu(options: dict, pairs: int) -> dict:
    """MFU: 6 FLOPs a parameter and token, and attention's, over the peak; what remat computes again is not counted."""
    table = []
    for shape in options["shapes"]:
        for n_rows, n_columns in GPU_ROWS:
            row = {"shape": shape, "rows": n_rows, "columns": n_columns, "dtype": "bfloat16", "peer": "bfloat16"}
            ours, peer = measure({**options, **row, "core": None}, pairs, "ours.step", "peer.step")
            flops = step_flops(shape, n_rows, n_columns)
            mfu = {
                name: spread([flops / run["wall_s"] / (1e12 * options["tflops"]) for run in runs])
                for name, runs in (("ours", ours), ("torch", peer))
            }
            table.append({**row, "mfu": mfu, **ratios(ours, peer)})
            print(json.dumps(table[-1]), file=sys.stderr, flush=True)
    return {"tflops": options["tflops"], "table": table}


def step_flops(shape: str, n_rows: int, n_columns: int) -> float:
    """Forward and backward: matrices, the tied head, and causal attention's half of the square."""
    vocab_size, d_model, d_ff, n_layers, n_heads, n_kv_heads, d_head = SHAPES[shape]
    per_layer = d_model * d_head * (2 * n_heads + 2 * n_kv_heads) + 3 * d_model * d_ff
    weights = n_layers * per_layer + d_model * vocab_size
    attention = n_layers * n_heads * d_head * n_columns * 2  # scores and values, half of them masked
    return 3 * n_rows * n_columns * (2 * weights + attention)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["step", "forced", "ragged", "gpu"])
    parser.add_argument("--shape", choices=COLUMNS, default="T")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="what ours computes in")
    parser.add_argument("--peer", choices=["float32", "bfloat16"], default="float32", help="bfloat16: by autocast")
    parser.add_argument("--remat", choices=["none", "dots", "full"], default="none", help="full on both sides, or ours")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--shapes", nargs="+", default=["S", "4B"])
    parser.add_argument("--tflops", type=float, default=790.0, help="gpu: peak of bfloat16 products")
    options = vars(parser.parse_args())
    options["rows"], options["columns"] = COLUMNS[options["shape"]]
    options["script"] = str(Path(__file__).with_name("update_workers.py"))
    pairs = options.pop("pairs")
    found = gpu(options, pairs) if options["bench"] == "gpu" else compare(options, pairs)
    about = {key: options[key] for key in ("bench", "shape", "dtype", "remat", "rows", "columns")}
    print(json.dumps({**about, "pairs": pairs, **found}))


if __name__ == "__main__":
    main()
