"""Floating-point operations of a training step, from the sizes of the network."""

from respfm.m2d.config import M2DConfig


def _blocks(tokens: int, dim: int, depth: int, mlp_ratio: float, skip: int = 0) -> int:
    """Forward FLOPs of `depth` blocks, the last of which leaves out the first `skip` tokens."""
    hidden = int(dim * mlp_ratio)

    def block(kept: int) -> int:
        projections = 2 * dim * dim * (3 * tokens + kept)
        return projections + 4 * dim * tokens * kept + 4 * dim * hidden * kept

    return (depth - 1) * block(tokens) + block(tokens - skip)


def sample_flops(config: M2DConfig) -> int:
    """Matrix-multiply FLOPs of forward and backward for one sample (a multiply-add counts as two).

    The backward pass costs twice the forward pass of all that has a gradient; the patches themselves, the target and
    the teacher have none. Only what `respfm.m2d.M2D` computes is counted.
    """
    visible, patches, dim, width = config.visible, config.patches, config.dim, config.decoder_dim
    masked, ratio = patches - visible, config.mlp_ratio
    pixels = config.patch_size[0] * config.patch_size[1]
    embedding = 2 * pixels * dim
    student = _blocks(visible + 1, dim, config.depth, ratio)
    student += 2 * (visible + 1) * dim * width
    student += _blocks(patches + 1, width, config.decoder_depth, ratio, skip=visible + 1)
    student += 2 * masked * width * (pixels if config.objective == "msm_mae" else dim)
    frozen = 0
    if config.objective != "msm_mae":
        frozen += masked * embedding + _blocks(masked + 1, dim, config.depth, ratio, skip=1)
    if config.objective == "m2d_x":
        student += 2 * config.grid[1] * config.grid[0] * dim * config.offline_dim
        frozen += patches * embedding + _blocks(patches + 1, dim, config.depth, ratio)
    return 2 * visible * embedding + 3 * student + frozen
