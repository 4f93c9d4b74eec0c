"""Who may import whom: one row a folder. Read from the imports, inside functions too, and from what is loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lte_jax"

BASE = ("records", "config", "metric", "method", "plugins")
TEXT = (*BASE, "host.tokenizers", "host.answers", "host.verify", "host")
BELOW_RUN = (*TEXT, "device", "engine", "storage", "terminal", "model_io")

# The rows are in build order: each may import rows above it alone, and of other packages those that it names. The same
# table stands in docs/architecture.md.
ROWS = {
    "records": ((), ()),
    "config": ((), ("pydantic", "yaml")),
    "metric": ((), ()),
    "method": ((), ()),
    "plugins": (("config",), ("pydantic",)),
    "host.tokenizers": (("records",), ("jinja2", "sentencepiece", "tokenizers", "transformers")),
    "host.answers": (("records", "config"), ("sympy",)),
    "host.verify": (("records", "config", "plugins", "host.answers"), ("math_verify",)),
    "host": ((*BASE, "host.tokenizers", "host.answers", "host.verify"), ("numpy", "pyarrow", "pydantic")),
    "device": (("config", "metric", "method", "plugins"), ("jax", "numpy", "flax", "optax", "pydantic")),
    "engine": ((*BASE, "device"), ("jax", "numpy")),
    "storage": (BASE, ("numpy", "etils", "fsspec", "tensorboardX", "wandb")),
    "terminal": (BASE, ("rich",)),
    "model_io": ((*TEXT, "device", "storage"), ("jax", "numpy", "orbax", "safetensors", "huggingface_hub", "etils")),
    "run": (BELOW_RUN, ("jax", "numpy", "orbax", "etils")),
    "report": ((*BASE, "host", "storage", "terminal"), ("jinja2", "markupsafe", "yaml", "etils")),
    "study": ((*BASE, "host", "storage", "terminal", "report"), ("matplotlib",)),
    "plan": (("config", "host", "terminal", "model_io", "device", "engine"), ("jax", "numpy")),
    "toy": ((*BELOW_RUN,), ("jax", "numpy", "sentencepiece")),
    "cli": ((*BELOW_RUN, "run", "report", "study", "plan", "toy"), ("rich", "typer")),
}
# Modules that are held to less than their row: what else a row allows is not for them.
NARROWER = {
    "device.update": ("flax",),
    **{f"device.{name}": ("flax", "optax") for name in ("sampler", "logprob", "loss", "objectives", "arrays", "mesh")},
    "plan.costs": ("jax", "device", *(f"engine.{name}" for name in ("boundary", "slots", "rollout", "compile_ahead"))),
    **{f"plan.{name}": ("jax", "device", "engine") for name in ( "memory", "nearest", "show", "targets")},
    "plan.make": ("jax", "engine"),
    "model_io.hf_config": ("jax", "flax", "orbax", "host", "storage"),
    "host.answers.decide": ("sympy",),
}
PRIVATE = "run.jax_private"  # the one module that may import names beginning with _
# The rows whose import must not load jax, directly or through others: what reads files and text alone.
WITHOUT_JAX = [name for name in ROWS if name not in ("device", "engine", "model_io", "run", "plan", "toy")]


def name_of(path: Path) -> str:
    """The dotted name inside the package; a folder's __init__ goes by the folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name: path for path in sorted(PACKAGE.rglob("*.py")) if (name := name_of(path)) != "__init__"}


def within(name: str, tops: tuple[str, ...]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def room(module: str) -> str | None:
    """The row that a module belongs to: the longest that its name begins with."""
    return max((row for row in ROWS if within(module, (row,))), key=len, default=None)


def imports(source: str) -> set[str]:
    """Dotted names of everything imported; `from a import b` gives a.b, which may be a module or a name in one."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def private_uses(source: str) -> list[str]:
    """`module._name` of a module of the package, imported by name; `_replace` and its like of a NamedTuple are public."""
    tree = ast.parse(source)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lte_jax"
        for alias in node.names
        if alias.name.islower()
    }
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    return [f"{node.value.id}.{node.attr}" for node in used if node.value.id in ours and node.attr.startswith("_")]


def faults(module: str, source: str) -> list[str]:
    """What the module imports and its row does not allow, and private names of other modules."""
    row, bad = room(module), private_uses(source)
    ours, others = ROWS[row]
    narrower = NARROWER.get(module, ())
    for name in sorted(imports(source)):
        if name.startswith(".") or name == "lte_jax":
            bad.append(f"{name} (write lte_jax.… in full)")
        elif name.startswith("lte_jax."):
            other = name.removeprefix("lte_jax.")
            if room(other) not in (row, *ours) or within(other, narrower):
                bad.append(name)
        elif name.split(".")[0] not in sys.stdlib_module_names:
            if not within(name, others) or within(name, narrower):
                bad.append(name)
        if any(part.startswith("_") and part != "__future__" for part in name.split(".")) and module != PRIVATE:
            bad.append(f"{name} (a private name)")
    return bad


def test_each_row_allows_only_rows_above_it():
    """So no folder imports upwards, and there is no circle."""
    order = list(ROWS)
    for name, (ours, _) in ROWS.items():
        assert all(other in order[: order.index(name)] for other in ours), name


def test_every_module_belongs_to_a_row_and_every_narrower_module_exists():
    assert [module for module in MODULES if room(module) is None] == []
    assert set(NARROWER) <= set(MODULES)


@pytest.mark.parametrize("row", ROWS)
def test_a_folder_imports_only_what_its_row_allows(row):
    found = {module: faults(module, path.read_text("utf-8")) for module, path in MODULES.items() if room(module) == row}
    assert found and {module: bad for module, bad in found.items() if bad} == {}


def circle(uses: dict[str, set[str]]) -> list[str]:
    """The modules that are in a circle or use one that is."""
    left = {module: set(others) for module, others in uses.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_no_modules_import_one_another_in_a_circle():
    """For type checkers neither: what stands under TYPE_CHECKING counts."""
    named = {module: imports(path.read_text("utf-8")) for module, path in MODULES.items()}
    names = {module: {name.removeprefix("lte_jax.") for name in found} for module, found in named.items()}
    uses = {
        module: {other for other in MODULES if other != module and any(_is_of(name, other) for name in found)}
        for module, found in names.items()
    }
    assert circle(uses) == []


def _is_of(name: str, module: str) -> bool:
    """`host.answers.parse.parse` is of the module host.answers.parse; a folder's __init__ only gives what it holds."""
    return name == module or name.rpartition(".")[0] == module and name not in MODULES


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("host.explore", "def f():\n    import jax.numpy as jnp"),
        ("host.verify.pool", "from lte_jax.engine import boundary"),
        ("host.answers.decide", "from lte_jax.host.verify.pool import Pool"),
        ("host.prompts", "from .tokenizer import Tokenizer"),
        ("records", "import numpy"),
        ("config", "from lte_jax.records import Problem"),
        ("device.sampler", "from flax import nnx"),
        ("device.loss", "import optax"),
        ("device.arrays", "import lte_jax.host.prompts"),
        ("engine.boundary", "if True:\n    from lte_jax.host import explore"),
        ("engine.rollout", "from lte_jax.run.train import main"),
        ("engine.slots", "from jax._src import core"),
        ("storage.paths", "from lte_jax.run.run_folder import LIMITS"),
        ("report.html", "import jax"),
        ("run.evaluate", "from lte_jax.report.runs import RunLog"),
        ("run.evaluate", "from lte_jax.storage.run_files import _rows"),
        ("plan.programs", "from lte_jax.device import sampler\nsampler._insert(1)"),
        ("study.run", "def f():\n    from lte_jax.run.train import loop"),
        ("plan.make", "import jax"),
        ("plan.costs", "from lte_jax.engine.boundary import round_up"),
    ],
)
def test_the_check_sees_what_is_wrong(module, source):
    assert faults(module, source)


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("row", WITHOUT_JAX)
def test_a_folder_loads_neither_jax_nor_what_its_row_does_not_allow(row):
    """Of `cli` only the start: each command imports what it needs, so that `lte --help` is instant."""
    modules = [module for module in MODULES if room(module) == row and not module.endswith(".zygote")]
    loaded = loaded_after("import " + ", ".join(f"lte_jax.{module}" for module in modules))
    assert not {"jax", "flax", "optax", "orbax"} & loaded
    rooms = {room(name.removeprefix("lte_jax.")) for name in loaded if name.startswith("lte_jax.")}
    assert rooms - {None} <= {row, *ROWS[row][0], *(part for part in ROWS if within(row, (part,)))}
    if row == "cli":
        assert rooms - {None} <= {"cli", "config", "records"} and not {"sympy", "transformers", "pyarrow"} & loaded


def test_the_package_itself_imports_nothing():
    assert {name for name in loaded_after("import lte_jax") if name.startswith("lte_jax")} == {"lte_jax"}


def table() -> str:
    """The rows as docs/architecture.md shows them."""
    lines = ["| folder or module | imports of the package | imports of others |", "|---|---|---|"]
    for name, (ours, others) in ROWS.items():
        path = name.replace(".", "/")
        path += "/" if (PACKAGE / path).is_dir() else ".py"
        shown = ", ".join(ours).replace(".", "/") or "–"
        lines.append(f"| `{path}` | {shown} | {', '.join(others) or '–'} |")
    return "\n".join(lines)


def test_the_table_in_the_documentation_is_this_one():
    assert table() in (ROOT / "docs" / "architecture.md").read_text("utf-8")
