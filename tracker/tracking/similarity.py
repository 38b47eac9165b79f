"""Similarity of embedded templates."""

from __future__ import annotations

from tracker.tracking.arrays import Array, at_least, double, namespace


def similarity(a: Array, b: Array, uncompared_channels: int) -> Array:
    """Similarity of embedded templates: the mean cosine of cells at the same position, over the target's cells.

    Args:
        a: (..., K, C, h, w) embeddings, numpy's or torch's.
        b: (..., M, C, h, w).
        uncompared_channels: How many of the last channels are not compared, the last being the fraction of each cell
            that the target covers; 0: none, all cells count.

    Returns:
        (..., K, M) in [-1, 1], float64.
    """
    xp = namespace(a)

    def split(x: Array) -> tuple[Array, Array]:
        z = double(x).reshape(*x.shape[:-2], -1)
        z, share = (
            (z[..., :-uncompared_channels, :], z[..., -1, :])
            if uncompared_channels
            else (z, xp.ones_like(z[..., -1, :]))
        )
        return z / at_least(xp.sqrt((z * z).sum(axis=-2))[..., None, :], 1e-6), share

    (p, u), (q, v) = split(a), split(b)
    cosine = xp.einsum("...kcn,...mcn->...kmn", p, q)
    weight = xp.sqrt(u[..., :, None, :] * v[..., None, :, :])
    return (cosine * weight).sum(axis=-1) / at_least(weight.sum(axis=-1), 1e-6)
