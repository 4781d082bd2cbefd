"""Model FLOPs of a training step, from which the trainer derives its utilisation of the hardware.

Counted are matrix products, a multiplication and an addition each; the backward pass of a product costs two more of its
size. Normalisation, GELU, softmax, optimiser and recomputed activations do not count.
"""

from respfm.m2d.config import M2DConfig


def training_flops(config: M2DConfig) -> int:
    """FLOPs of forward and backward pass for one sample, as `M2D` computes them (without a teacher's pass)."""
    patch = config.patch_size[0] * config.patch_size[1]
    masked, student = config.patches - config.visible, 1 + config.visible
    embedding = config.visible * patch * config.dim
    trained = _blocks(config.depth, student, config.dim, config.mlp_ratio)
    trained += student * config.dim * config.decoder_dim
    trained += _blocks(config.decoder_depth, student + masked, config.decoder_dim, config.mlp_ratio, student)
    outputs = patch if config.objective == "msm_mae" else config.dim
    trained += masked * config.decoder_dim * outputs
    if config.objective == "m2d_x":
        rows, columns = config.grid
        trained += columns * rows * config.dim * config.offline_dim
    frozen = 0
    if config.objective != "msm_mae":
        frozen = masked * patch * config.dim
        frozen += _blocks(config.depth, 1 + masked, config.dim, config.mlp_ratio, skip=1)
    return 2 * (3 * trained + 2 * embedding + frozen)


def encoder_flops(config: M2DConfig) -> int:
    """FLOPs of one encoder pass over all patches, such as a teacher's."""
    patch = config.patch_size[0] * config.patch_size[1]
    embedding = config.patches * patch * config.dim
    return 2 * (embedding + _blocks(config.depth, 1 + config.patches, config.dim, config.mlp_ratio))


def _blocks(depth: int, tokens: int, dim: int, mlp_ratio: float, skip: int = 0) -> int:
    """Multiply-adds of `depth` blocks; the last gives results for all but `skip` tokens."""
    per_token = dim * dim + 2 * dim * int(dim * mlp_ratio) + 2 * tokens * dim
    return depth * tokens * (3 * dim * dim + per_token) - skip * per_token
