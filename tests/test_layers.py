"""Who may import whom. Reads every import of the package, those inside functions too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lte_jax"

# module or folder -> what it may import: modules of the package (a folder means all in it), then other packages
ALLOWED = {
    "__init__": ((), ()),
    "records": ((), ()),
    "config": ((), ("pydantic", "yaml")),
    "host": (
        ("host", "records", "config", "plugins"),
        ("numpy", "pydantic", "tokenizers", "transformers", "sentencepiece", "jinja2", "sympy", "pyarrow"),
    ),
    "host.verify.against": ((), ("math_verify",)),
    "metric": ((), ()),
    "plugins": (("config",), ("pydantic",)),
    "device": (("device", "config", "metric", "plugins"), ("jax", "numpy", "pydantic")),
    "device.qwen3": (("device", "config"), ("jax", "numpy", "flax")),
    "device.update": (("device", "config"), ("jax", "numpy", "optax")),
    "boundary": (("records", "metric", "device.arrays", "device.mesh", "device.normalisers"), ("jax", "numpy")),
    "roll_call": ((), ()),
    "processes": (("host.wire", "device.mesh", "records", "roll_call"), ("jax", "numpy")),
    "meter": ((), ()),
    "slots": (("boundary", "device", "meter", "records", "config"), ("numpy",)),
    "rollout": (("slots", "meter", "device", "records", "config"), ("jax", "numpy")),
    "hf_config": (("device.weights",), ()),
    "convert": (
        ("hf_config", "device.weights", "device.qwen3", "device.mesh"),
        ("jax", "numpy", "safetensors"),
    ),
    "jobs": ((), ()),
    "step_metrics": (("metric",), ()),
    "preempt": ((), ("jax",)),
    "paths": (("config",), ("etils", "fsspec")),
    "run_config": (("config",), ("etils",)),
    "locks": (("paths", "config"), ("etils",)),
    "plan": (("plan", "config", "device.weights", "hf_config", "report.live"), ()),
    "positions": (("config",), ()),
    "plan.topology": (("plan.targets",), ("jax",)),
    "plan.programs": (("plan.targets", "plan.topology", "boundary", "device", "config"), ("jax", "numpy")),
    "plan.worker": (
        ("plan.hlo", "plan.flops", "plan.targets", "plan.topology", "plan.programs", "device", "config"),
        ("jax",),
    ),
    "report": (
        ("report", "records", "config", "metric", "paths"),
        ("numpy", "matplotlib", "yaml", "rich", "jinja2", "markupsafe", "tensorboardX", "wandb", "etils"),
    ),
}
# module -> what it may not import; everything else is free to it
FORBIDDEN = {
    "checkpoint": ("train", "study", "cli"),
    "best": ("train", "study", "cli"),
    "dry_run": ("train", "study", "cli"),
    "hub": ("checkpoint", "session", "train", "study", "cli"),
    "inputs": ("train", "study", "cli"),
    "starting": ("train", "study", "cli"),
    "recorded": ("train", "study", "cli"),
    "replay": ("train", "study", "cli"),
    "run_folder": ("train", "study", "cli"),
    "compile_ahead": ("session", "train", "study", "cli"),
    "session": ("evaluate", "generate", "train", "warmup", "study", "cli"),
    "evaluate": ("train", "study", "cli"),
    "generate": ("train", "study", "cli"),
    "warmup": ("train", "study", "cli"),
    "train": ("study", "cli"),
    "study": ("cli",),
    "cli": (),
}


def name_of(path: Path) -> str:
    """The dotted name inside the package; a folder's __init__ goes by the folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(source: str) -> set[str]:
    """Dotted names of everything imported; `from a import b` gives a.b, which may be a module or a name in one."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in allowed)


def row(module: str, table: dict):
    """The entry of the module itself, or of its folder."""
    return table.get(module, table.get(module.split(".")[0]))


def faults(module: str, source: str) -> list[str]:
    """Imports of the module that the tables do not allow."""
    bad = []
    for name in sorted(imports(source)):
        ours = name.removeprefix("lte_jax.") if name.split(".")[0] == "lte_jax" else None
        if name.startswith(".") or name == "lte_jax":
            bad.append(f"{name} (write lte_jax.… in full)")
        elif row(module, ALLOWED) is None:
            bad += [name] if ours and within(ours, row(module, FORBIDDEN)) else []
        else:
            own, others = row(module, ALLOWED)
            fine = within(ours, own) if ours else within(name, others) or name.split(".")[0] in sys.stdlib_module_names
            bad += [] if fine else [name]
    return bad


def test_every_module_has_a_row():
    assert [name for name in MODULES if row(name, ALLOWED) is None and row(name, FORBIDDEN) is None] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_row_allows(module):
    assert faults(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("host.explore", "def f():\n    import jax.numpy as jnp"),
        ("host.verify.pool", "from lte_jax import boundary"),
        ("host.prompts", "from lte_jax.device.normalisers import token_mean"),
        ("host.prompts", "from .tokenizer import Tokenizer"),
        ("records", "import numpy"),
        ("config", "from lte_jax.records import Problem"),
        ("device.sampler", "from flax import nnx"),
        ("device.loss", "import optax"),
        ("device.qwen3", "import tokenizers"),
        ("device.arrays", "import lte_jax.host.prompts"),
        ("device.mesh", "from lte_jax.records import Group"),
        ("boundary", "if True:\n    from lte_jax.host import explore"),
        ("boundary", "from lte_jax.device.update import apply"),
        ("rollout", "from lte_jax.run.train import main"),
        ("report.html", "import jax"),
        ("evaluate", "def f():\n    from lte_jax.run.train import loop"),
        ("study", "import lte_jax.cli"),
        ("plan.make", "import jax"),
        ("plan.costs", "from lte_jax.engine.boundary import round_up"),
        ("plan.programs", "from lte_jax.plan.make import make_plan"),
        ("__init__", "import numpy"),
    ],
)
def test_the_check_sees_what_is_wrong(module, source):
    assert faults(module, source)


def imported_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_itself_imports_nothing():
    assert imported_after("import lte_jax") - imported_after("pass") == {"lte_jax"}


@pytest.mark.skipif(not (PACKAGE / "cli.py").exists(), reason="there is no command yet")
def test_the_command_starts_without_jax():
    assert not {"jax", "flax", "optax", "sympy", "transformers", "pyarrow"} & imported_after("import lte_jax.cli")


def test_the_host_side_runs_without_jax():
    statement = "; ".join(f"import lte_jax.{name}" for name in MODULES if name.split(".")[0] in ("host", "records"))
    assert not {"jax", "flax", "optax"} & imported_after(statement)
