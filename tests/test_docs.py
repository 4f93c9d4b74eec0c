"""What docs/how-to.md says works: its changes are made in a copy of the package, and its scripts run against that."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lte_jax.config import fields
from lte_jax.method import Source
from lte_jax.run.methods import listed

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = dict(
    part.split("\n", 1) for part in re.split(r"^## ", (ROOT / "docs/how-to.md").read_text(), flags=re.MULTILINE)[1:]
)


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.DOTALL | re.MULTILINE)


def apply(change: str, package: Path) -> None:
    """Makes a documented change: each hunk's old lines must stand in the file exactly once, as they are written."""
    for part in re.split(r"^--- ", change, flags=re.MULTILINE)[1:]:
        name, body = part.split("\n", 1)
        path = package.parent / name
        for hunk in re.split(r"^@@\n", body, flags=re.MULTILINE):
            lines = hunk.splitlines()
            old, new = ("\n".join(line[1:] for line in lines if line[0] != other) for other in "+-")
            text = path.read_text()
            assert text.count(old) == 1, f"{name}: stands there {text.count(old)} times:\n{old}"
            path.write_text(text.replace(old, new))


@pytest.mark.parametrize("section", SECTIONS)
def test_what_the_how_to_says_works(tmp_path, section):
    needs_torch = any("import torch" in script for script in blocks(section, "python"))
    if needs_torch and find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install -e '.[parity]'")
    package = tmp_path / "lte_jax"
    shutil.copytree(ROOT / "lte_jax", package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in blocks(section, "diff"):
        apply(change, package)
    scripts = blocks(section, "python")
    assert scripts
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XLA_FLAGS": ""}
    for place, script in enumerate(scripts):
        named = re.match(r"# (\w+\.py)\n", script)
        path = tmp_path / (named.group(1) if named else f"script_{place}.py")
        path.write_text(script)  # beside the changed copy of the package, which Python finds there first
        if named:  # a module that a later script imports
            continue
        done = subprocess.run(
            [sys.executable, path.name], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_a_change_that_no_longer_fits_the_code_is_noticed(tmp_path):
    package = tmp_path / "lte_jax"
    package.mkdir()
    (package / "a.py").write_text("x = 1\ny = 2\n")
    apply("--- lte_jax/a.py\n x = 1\n-y = 2\n+y = 3\n", package)
    assert (package / "a.py").read_text() == "x = 1\ny = 3\n"
    with pytest.raises(AssertionError, match="stands there 0 times"):
        apply("--- lte_jax/a.py\n-y = 2\n+y = 3\n", package)


def metric_patterns() -> list[str]:
    """Every metric name in the package as a pattern: what is filled in at run time matches any word."""
    sources = [path.read_text() for path in (ROOT / "lte_jax").rglob("*.py")]
    names = {name for source in sources for name in re.findall(r'"((?:[a-z]+|\{\w+\})/[a-z_{}]+)"', source)}
    return [re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(name)) for name in names]


@pytest.mark.parametrize("name", ["troubleshooting.md", "converting.md"])
def test_metrics_and_settings_that_a_page_names_are_there(name):
    text = (ROOT / "docs" / name).read_text()
    folders = ("metrics/", "rollouts/", "eval/", "runs/", "lte_jax/", "cache/", "tests/", "device/")
    spelled = re.findall(r"`([a-z]+/[a-z_]+)`", text)
    metrics = {word for word in spelled if not word.startswith(folders)}
    patterns = metric_patterns()
    assert [word for word in sorted(metrics) if not any(re.fullmatch(p, word) for p in patterns)] == []
    known = {field for field, _, _ in fields()}
    sections = {field.split(".")[0] for field in known if "." in field}
    settings = set(re.findall(r"`?\b((?:[a-z]+\.)+[a-z_]+)\b", text))
    used = {word for word in settings if word.split(".")[0] in sections and not word.endswith(".json")}
    assert [word for word in sorted(used) if word not in known] == []
    assert name != "troubleshooting.md" or (len(metrics) > 25 and len(used) > 25)


def test_every_method_has_a_record_and_stands_on_its_page():
    """Whatever a config can name."""
    for each in listed():
        assert each.method, each
        page = ROOT / f"docs/methods/{each.method.family}.md"
        assert page.exists() and any(said in page.read_text() for said in (f"`{each.name}`", f"## {each.name}")), each
        assert all((ROOT / "configs" / name).exists() for name in each.method.configs)
        assert each.method.ours or each.method.source is not Source.RECONSTRUCTED
        assert all(field.description for field in (each.args.model_fields if each.args else {}).values()), each
