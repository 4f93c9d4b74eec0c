"""Every jitted function of a run with abstract arguments: shapes, types and shardings as the run will have them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from lte_jax.config import Config, MeshConfig
from lte_jax.device import features, sampler, update
from lte_jax.device import mesh as meshes
from lte_jax.device.arrays import Drawing, Starts
from lte_jax.device.regularisers import scalars
from lte_jax.device.weights import Architecture
from lte_jax.engine.shapes import SamplerShapes, UpdateShapes
from lte_jax.host.credits import make_credits, wanted_features
from lte_jax.host.strategies import strategy_class
from lte_jax.plan.targets import Target
from lte_jax.plan.topology import devices


@dataclass(frozen=True)
class Sizes:
    """The largest shapes of a run. Slots, prompts and columns are of one process, rows and row_columns of the mesh."""

    slots: int
    columns: int
    prompts: int
    prompt_columns: int
    rows: int
    row_columns: int

    @classmethod
    def of(cls, config: Config, mesh: Mesh, own: Mesh) -> "Sizes":
        longest = max(config.prompt.budget, config.prompt.hinted_budget)
        budget, forks = config.sample.response_budget, strategy_class(config).forks
        sampler_shapes = SamplerShapes(config.engine, meshes.n_batch_shards(own), longest, budget)
        rows, row_columns = UpdateShapes.of(config, meshes.n_batch_shards(mesh)).all[-1]
        return cls(
            slots=sampler_shapes.slots[-1],
            columns=sampler_shapes.columns[-1],
            prompts=sampler_shapes.prompts[-1],
            prompt_columns=sampler_shapes.prompt_columns(forks)[-1],
            rows=rows,
            row_columns=row_columns,
        )


class Programs:
    """`trace[name]()` traces a program; `arrays` are the abstract arrays that live beside each other in a run; `own` is
    the mesh on which one process samples."""

    def __init__(self, config: Config, arch: Architecture, mesh: Mesh, own: Mesh):
        meshes.check_divides(arch, mesh)
        self.config, self.arch, self.mesh, self.own = config, arch, mesh, own
        self.sizes = Sizes.of(config, mesh, own)
        self.spec = sampler.SamplerSpec(arch, config.model.compute_dtype, config.model.attention, self.own)
        n_updates = config.steps * config.problems_per_step // config.optim.problems_per_update
        self.update_spec = update.UpdateSpec(arch, config.model, config.loss, config.optim, n_updates, mesh)
        read = wanted_features(make_credits(config))
        self.feature_spec = features.FeatureSpec(self.update_spec, read, config.advantage.feature_args)
        self.arrays = self._arrays()
        self.trace = self._traces()

    def _arrays(self) -> dict:
        sizes, spec = self.sizes, self.spec
        state = update.abstract_state(self.update_spec)
        copy = jax.eval_shape(partial(sampler.sampler_weights, spec=spec), meshes.abstract_params(self.arch, self.own))
        copy = placed(copy, meshes.sampler_shardings(self.arch, self.own))
        slots = jax.eval_shape(lambda: sampler.empty_slots(sizes.slots, sizes.columns, spec))
        prompts = self._own_array((sizes.prompts, sizes.prompt_columns))
        prefix = jax.eval_shape(partial(sampler.prefill, spec=spec), copy, prompts)
        cache = meshes.cache_sharding(self.own)
        return {
            "weights": state.params,
            "optimiser": state.opt_state,
            "reference": self._reference(state.params),
            "gradients": meshes.abstract_params(self.arch, self.mesh),
            "copy": copy,
            "cache": placed(slots.cache, cache),
            "prefix": placed(prefix, cache),
            "rows": placed(slots._replace(cache=[]), meshes.batch_sharding(self.own)),
        }

    def _reference(self, params) -> dict:
        """The starting model, where a KL is taken to it or a feature reads it."""
        if self.config.loss.kl == "none" and not self.feature_spec.needs_reference:
            return {}
        copy = jax.eval_shape(partial(update.reference_weights, spec=self.update_spec), params)
        return placed(copy, meshes.param_shardings(self.arch, self.mesh))

    def _own_array(self, shape, dtype=np.int32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=meshes.replicated(self.own))

    def _traces(self) -> dict[str, Callable]:
        return {
            "sampler_weights": self._sampler_weights,
            "prefill": self._prefill,
            "insert": self._insert,
            "start": self._start,
            "resize": self._resize,
            "decode": self._decode,
            "measure": self._measure,
            "accumulate": self._accumulate,
            "apply": self._apply,
        }

    def _sampler_weights(self):
        return sampler.sampler_weights.trace(self.arrays["weights"], replace(self.spec, mesh=self.mesh))

    def _prefill(self):
        prompts = self._own_array((self.sizes.prompts, self.sizes.prompt_columns))
        return sampler.prefill.trace(self.arrays["copy"], prompts, self.spec)

    def _insert(self):
        slot_M = self._own_array((self.sizes.slots,))
        return sampler.insert_layer.trace(self.arrays["cache"][0], self.arrays["prefix"][0], slot_M, slot_M, self.own)

    def _start(self):
        column, keys = self._own_array((self.sizes.slots,)), (self.sizes.slots, sampler.N_KEY_PARTS)
        starts = Starts(*[column] * 6, self._own_array(keys, np.uint32))
        return sampler.start_rows.trace(self.arrays["rows"], starts, self.own)

    def _resize(self):
        source_M = self._own_array((self.sizes.slots,))
        smaller = jax.tree.map(self._fewer_columns, self.arrays["cache"][0])
        return sampler.resize_layer.trace(smaller, source_M, self.sizes.columns, self.own)

    def _fewer_columns(self, cache_BKSH):
        n_rows, n_kv, n_columns, d_head = cache_BKSH.shape
        shape = (n_rows, n_kv, n_columns * 3 // 4, d_head)
        return jax.ShapeDtypeStruct(shape, cache_BKSH.dtype, sharding=cache_BKSH.sharding)

    def _decode(self):
        i32, f32 = self._own_array(()), self._own_array((), np.float32)
        state = self.arrays["rows"]._replace(cache=self.arrays["cache"])
        drawing = Drawing(*[f32] * 6, i32)
        chunk = (self.arrays["copy"], state, self._own_array((2,)), i32, i32, drawing)
        return sampler.decode_chunk.trace(*chunk, self.config.engine.chunk, self.spec)

    def _measure(self):
        f32 = jax.ShapeDtypeStruct((), np.float32, sharding=meshes.replicated(self.mesh))
        reference = self.arrays["reference"] if self.feature_spec.needs_reference else None
        micro = update.abstract_microbatch(self.sizes.rows, self.sizes.row_columns, self.update_spec)
        micro = micro._replace(targets={})
        return features.measure.trace(self.arrays["weights"], reference, micro, f32, self.feature_spec)

    def _accumulate(self):
        whole = meshes.replicated(self.mesh)
        sums = jax.eval_shape(partial(update.zero_sums, self.update_spec))
        sums = self.arrays["gradients"], placed(sums[1], whole)
        f32 = jax.ShapeDtypeStruct((), np.float32, sharding=whole)
        micro = update.abstract_microbatch(self.sizes.rows, self.sizes.row_columns, self.update_spec)
        read = scalars(self.config.loss)
        return update.accumulate.trace(self.arrays["weights"], sums, micro, f32, f32, self.update_spec, read)

    def _apply(self):
        return update.apply.trace(update.abstract_state(self.update_spec), self.arrays["gradients"], self.update_spec)


def process_mesh(mesh: Mesh, target: Target) -> Mesh:
    """The mesh on which one process samples: the whole, or its host's devices as a slice of their own, since no TPU
    program may leave out devices of the slice that it is compiled for. Raises ValueError where tensor spans hosts."""
    if target.n_hosts == 1:
        return mesh
    tensor = mesh.shape["tensor"]
    if target.host_devices % tensor:
        raise ValueError(
            f"mesh.tensor = {tensor} spans processes, each of which samples on its own {target.host_devices} devices: "
            "wanted a mesh.tensor that divides them"
        )
    return meshes.make_mesh(
        MeshConfig(data=target.host_devices // tensor, fsdp=1, tensor=tensor), devices(target.host())
    )


def placed(tree, shardings):
    """The abstract arrays of a tree with a sharding: one for all, or a tree of them."""
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def n_bytes(tree) -> int:
    """Bytes that the abstract arrays of a tree take on one device; what lies in the host's memory takes none."""
    beside = [x for x in jax.tree.leaves(tree) if x.sharding.memory_kind != "pinned_host"]
    return sum(int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize for x in beside)
