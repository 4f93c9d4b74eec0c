"""Preflight: every device program compiled by the target's own compiler, on a machine without the target."""
