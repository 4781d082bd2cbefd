"""Floating-point operations of a pre-training step, from the sizes of the network."""

from respfm.m2d.config import M2DConfig


def _blocks(tokens: int, dim: int, depth: int, mlp_ratio: float) -> int:
    linear = 2 * tokens * dim * dim * (4 + 2 * mlp_ratio)
    attention = 2 * 2 * tokens * tokens * dim
    return int(depth * (linear + attention))


def sample_flops(config: M2DConfig) -> int:
    """Matrix-multiply FLOPs of forward and backward for one sample (a multiply-add counts as two).

    The backward pass costs twice the forward pass of everything with a gradient, except the gradient of the
    input spectrogram; the target and the teacher have no backward pass.
    """
    visible, patches, dim = config.visible, config.patches, config.dim
    pixels = config.patch_size[0] * config.patch_size[1]
    embedding = 2 * patches * pixels * dim
    encoder = _blocks(visible + 1, dim, config.depth, config.mlp_ratio)
    decoder = _blocks(patches + 1, config.decoder_dim, config.decoder_depth, 4.0)
    decoder += 2 * (visible + 1) * dim * config.decoder_dim
    if config.objective == "msm_mae":
        decoder += 2 * (patches - visible) * config.decoder_dim * pixels
        return 2 * embedding + 3 * (encoder + decoder)
    predicted = patches if config.objective == "m2d_x" else patches - visible
    decoder += 2 * predicted * config.decoder_dim * dim
    target = _blocks(patches - visible + 1, dim, config.depth, config.mlp_ratio)
    if config.objective == "m2d_x":
        decoder += 2 * config.grid[1] * config.grid[0] * dim * config.offline_dim
        target += embedding + _blocks(patches + 1, dim, config.depth, config.mlp_ratio)
    return 2 * embedding + 3 * (encoder + decoder) + target
