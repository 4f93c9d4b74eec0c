"""Products and look-ups in the compute type whose weight gradients are float32 from the first sum on.

Plain differentiation sums a gradient in the type that the weight was cast to: over the rows of one device, where a
bfloat16 sum stops growing once it is 256 times what is added, and again across devices. Here the backward pass
multiplies in the compute type and sums in float32, and the cast lies outside of the sum. Where weight and activations
have one type (float32 training, the sampler's copy) this is the plain operation.
"""

from functools import partial

import jax
import jax.numpy as jnp


def product(x_UI, weight_IO):
    """x_UI @ weight_IO in the type of x."""
    return x_UI @ weight_IO if weight_IO.dtype == x_UI.dtype else _product(x_UI, weight_IO)


@jax.custom_vjp
def _product(x_UI, weight_IO):
    return _product_forward(x_UI, weight_IO)[0]


def _product_forward(x_UI, weight_IO):
    cast_IO = weight_IO.astype(x_UI.dtype)
    return x_UI @ cast_IO, (x_UI, cast_IO)


def _product_backward(saved, d_out_UO):
    x_UI, cast_IO = saved
    return d_out_UO @ cast_IO.T, jnp.einsum("ui,uo->io", x_UI, d_out_UO, preferred_element_type=jnp.float32)


_product.defvjp(_product_forward, _product_backward)


def look_up(table_VD, tokens_BT, dtype, constrain_table):
    """Rows of the table in `dtype`. `constrain_table` pins the sharding of the table while they are looked up."""
    if table_VD.dtype == dtype:
        return constrain_table(table_VD)[tokens_BT]
    return _look_up(table_VD, tokens_BT, table_VD.shape[0], dtype, constrain_table)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _look_up(table_VD, tokens_BT, n_rows, dtype, constrain_table):
    return _look_up_forward(table_VD, tokens_BT, n_rows, dtype, constrain_table)[0]


def _look_up_forward(table_VD, tokens_BT, n_rows, dtype, constrain_table):
    return constrain_table(table_VD.astype(dtype))[tokens_BT], tokens_BT


def _look_up_backward(n_rows, dtype, constrain_table, tokens_BT, d_rows_BTD):
    sums_VD = jnp.zeros((n_rows, d_rows_BTD.shape[-1]), jnp.float32).at[tokens_BT].add(d_rows_BTD.astype(jnp.float32))
    return constrain_table(sums_VD), None


_look_up.defvjp(_look_up_forward, _look_up_backward)
