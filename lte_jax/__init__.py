"""LTE, learning to reason from trial and error (arXiv 2510.26109), as a JAX training stack for Qwen3."""
