"""Features of a step's members: measured on the device in the shapes of the update, handed back with their groups."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lte_jax.device.features import FeatureSpec, chosen, measure
from lte_jax.engine.boundary import fetch, pack_members
from lte_jax.records import Group


def with_features(
    groups: Sequence[Group],
    params: dict,
    reference: dict | None,
    config,
    spec: FeatureSpec,
    before_microbatch: Callable[[], None] = lambda: None,
) -> list[Group]:
    """The groups with what was measured of their members. The same in every process, each of which holds all groups.
    `config`: the whole Config; what `before_microbatch` raises ends it."""
    found: list[list[dict]] = [[{} for _ in group.members] for group in groups]
    per_token = {name for name, (feature, _) in chosen(spec.names, spec.args).items() if feature.per_token}
    temperature = np.float32(config.sample.temperature)
    for owners, micro in pack_members(groups, config, spec.policy.mesh):
        before_microbatch()
        values = fetch(measure(params, reference if spec.needs_reference else None, micro, temperature, spec))
        for row, owner in enumerate(owners):
            if owner is not None:
                found[owner.group][owner.place] = {
                    name: value[row, owner.columns] if name in per_token else _plain(value[row])
                    for name, value in values.items()
                }
    return [replace(group, features=tuple(each)) for group, each in zip(groups, found, strict=True)]


def _plain(value: np.ndarray):
    return float(value) if value.ndim == 0 else value
