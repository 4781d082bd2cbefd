"""Checkpoint files: the published M2D formats, full and encoder-only, and the own encoder.safetensors."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from respfm.errors import RespfmError
from respfm.files import atomic_path, canonical_json
from respfm.m2d.config import PREDICTORS, M2DConfig
from respfm.m2d.encoder import AUDIOSET_STATISTICS, M2DEncoder
from respfm.m2d.model import M2D
from respfm.weights import read_metadata, read_weights

METADATA_KEY = "respfm"
PREFIXES = ("module.ar.runtime.backbone.", "backbone.", "module.")
HEAD_DIM = 64
MEL_BANDS = 80
ENCODER_PART = re.compile(r"(cls_token|pos_embed|norm_stats|patch_embed|blocks|norm)(\.|$)")
PARTS = {
    "encoder": r"(cls_token|patch_embed|blocks|norm)(\.|$)",
    "predictor": r"(mask_token$|decoder_(embed|blocks|norm|pred)\.)",
    "target network": r"target_",
    "offline predictor": r"offline_predictor\.",
}
FOLDER_NAME = re.compile(r"(?:\w+-)?(\d+)x(\d+)p(\d+)x(\d+)(?:p(\d+)k)?(?:[-_]|$)")


def load_checkpoint(
    path: str | Path,
    encoder_only: bool = False,
    input_size: Sequence[int] | None = None,
    trust: bool = False,
) -> M2D | M2DEncoder:
    """The network of a published .pth file or an own .safetensors file, in evaluation mode.

    A full checkpoint gives an `M2D` (or, if `encoder_only`, its encoder), an encoder-only one an `M2DEncoder`. Sizes
    come from the file's own metadata, else from the name of the folder or file (`m2d_vit_base-80x608p16x16-...`), else
    from `input_size` and the weights. Raises RespfmError for a file of another architecture.
    """
    config, state = read_checkpoint(path, input_size, trust)
    full = "mask_token" in state and not encoder_only
    with torch.device("meta"):
        network = M2D(config) if full else M2DEncoder(config)
    expected = network.state_dict()
    state = {"norm_stats": torch.tensor(AUDIOSET_STATISTICS), **state}
    missing = [key for key in expected if key not in state]
    if missing:
        raise RespfmError(f"{path}: not a whole M2D checkpoint, {len(missing)} tensors lack, first {missing[0]!r}")
    for key, value in expected.items():
        if state[key].shape != value.shape:
            raise RespfmError(
                f"{path}: {key} has shape {list(state[key].shape)}, where {list(value.shape)} is expected"
            )
    network.load_state_dict({key: state[key].float() for key in expected}, assign=True)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not re.match(r"(norm_stats|pos_embed|decoder_pos_embed|target_)", name))
    return network.eval()


def read_checkpoint(
    path: str | Path, input_size: Sequence[int] | None = None, trust: bool = False
) -> tuple[M2DConfig, dict[str, Tensor]]:
    """Configuration and named tensors of a checkpoint, with the wrappers' prefixes removed."""
    path = Path(path)
    content = read_weights(path, trust, allow=[argparse.Namespace])
    if not isinstance(content, dict):
        raise RespfmError(f"{path}: holds a {type(content).__name__}, not the weights of an M2D network")
    state = content.get("model", content)
    state = _join_biases({_plain_name(key): value for key, value in state.items() if isinstance(value, Tensor)})
    if not {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= state.keys():
        raise RespfmError(f"{path}: not an M2D checkpoint; its tensors are called {', '.join([*state][:3])} ...")
    if own := _own_config(path, content):
        return own, state
    return _infer_config(path, state, input_size), state


def _plain_name(key: str) -> str:
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _join_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The msm-mae repository stores the biases of query and value and has none for the key."""
    joined = {key: value for key, value in state.items() if not key.endswith((".q_bias", ".v_bias"))}
    for key, query in state.items():
        if key.endswith(".attn.q_bias"):
            value = state[key.replace("q_bias", "v_bias")]
            joined[key.replace("q_bias", "qkv.bias")] = torch.cat([query, torch.zeros_like(query), value])
    return joined


def _own_config(path: Path, content: dict[str, Any]) -> M2DConfig | None:
    values = content.get(METADATA_KEY)
    if path.suffix == ".safetensors":
        values = json.loads(read_metadata(path).get(METADATA_KEY, "null"))
    try:
        return values and M2DConfig.from_dict(values)
    except RespfmError as error:
        raise RespfmError(f"{path}: {error}") from error


def _infer_config(path: Path, state: dict[str, Tensor], input_size: Sequence[int] | None) -> M2DConfig:
    """Sizes from the name of the folder, else of the file, checked against the weights; the rest from the
    weights.
    """
    dim, _, *patch_size = state["patch_embed.proj.weight"].shape
    patches = state["pos_embed"].shape[1] - 1
    name = FOLDER_NAME.match(path.parent.name) or FOLDER_NAME.match(path.stem)
    sample_rate = 16000
    if name:
        mels, frames, height, width = map(int, name.groups()[:4])
        if [height, width] != patch_size:
            raise RespfmError(f"{path}: the name says patches of {height}x{width}, the weights {_times(patch_size)}")
        input_size = (mels, frames)
        sample_rate = 1000 * int(name[5]) if name[5] else sample_rate
    rows = MEL_BANDS // patch_size[0]
    if input_size is None:
        input_size = (MEL_BANDS, patches // rows * patch_size[1])
    if (input_size[0] // patch_size[0]) * (input_size[1] // patch_size[1]) != patches:
        raise RespfmError(
            f"{path}: {patches} positions do not fit an input of {_times(input_size)} with patches of "
            f"{_times(patch_size)}"
        )
    sizes = {
        "input_size": input_size,
        "patch_size": patch_size,
        "dim": dim,
        "depth": _depth(state, "blocks"),
        "heads": dim // HEAD_DIM,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "sample_rate": sample_rate,
    }
    return M2DConfig(**sizes, **_infer_predictor(state))


def _infer_predictor(state: dict[str, Tensor]) -> dict[str, Any]:
    if "mask_token" not in state:
        return {}
    objective = "m2d" if "target_norm.weight" in state else "msm_mae"
    extra = {}
    if "offline_predictor.weight" in state:
        objective, extra = "m2d_x", {"offline_dim": state["offline_predictor.weight"].shape[0]}
    return {
        "objective": objective,
        "decoder_dim": state["mask_token"].shape[-1],
        "decoder_depth": _depth(state, "decoder_blocks"),
        "decoder_heads": PREDICTORS[objective]["decoder_heads"],
        **extra,
    }


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _depth(state: dict[str, Tensor], blocks: str) -> int:
    return 1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"{blocks}."))


def export_encoder(model: M2DEncoder, norm_stats: Sequence[float], path: str | Path) -> None:
    """Write the encoder of `model` as safetensors with its configuration in the metadata.

    `norm_stats` is (mean, standard deviation) of the log-mels that it was trained with.
    """
    state = {key: value for key, value in _exported(model, norm_stats).items() if ENCODER_PART.match(key)}
    with atomic_path(path) as temporary:
        # Its own save_file makes a file that only its owner may read.
        temporary.write_bytes(save(state, {METADATA_KEY: canonical_json(model.config.to_dict())}))


def export_checkpoint(model: M2DEncoder, norm_stats: Sequence[float], path: str | Path) -> None:
    """Write `model` with the reference's key layout, `{"model": state}`, and the configuration beside.

    The reference's tools take the sizes from the folder's name; `reference_name` gives one that they
    understand.
    """
    content = {"model": _exported(model, norm_stats), METADATA_KEY: model.config.to_dict()}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        torch.save(content, stream)


def reference_name(config: M2DConfig, label: str) -> str:
    """A folder name from which the reference's tools read model class and sizes, for example
    `m2d_vit_base-80x608p16x16p16k-<label>`.
    """
    sizes = f"{_times(config.input_size)}p{_times(config.patch_size)}p{config.sample_rate // 1000}k"
    return f"{config.objective}_vit_base-{sizes}-{label}"


def _exported(model: M2DEncoder, norm_stats: Sequence[float]) -> dict[str, Tensor]:
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    return {**state, "norm_stats": torch.tensor(norm_stats, dtype=torch.float32)}


def initialise_from(model: M2D, path: str | Path, trust: bool = False) -> str:
    """Start further pre-training of `model` from the weights of a checkpoint, full or encoder-only.

    Returns a text that says what came from the file and what starts fresh. A predictor that the file lacks
    stays as initialised; a target network that it lacks starts as a copy of the encoder, never at random.
    Position tables and normalisation statistics stay the model's own. Raises RespfmError if the encoders
    differ in size.
    """
    config, state = read_checkpoint(path, trust=trust)
    for name in ("patch_size", "dim", "depth", "heads", "mlp_ratio"):
        there, here = getattr(config, name), getattr(model.config, name)
        if there != here:
            raise RespfmError(f"{path}: cannot start from it, its {name} is {there} and the run's {here}")
    has_target = "target_norm.weight" in state
    if not has_target:
        state |= {f"target_{key}": value for key, value in state.items() if re.match(r"(blocks|norm)\.", key)}
    loaded, fresh = [], []
    for part, pattern in PARTS.items():
        wanted = {key: value.shape for key, value in model.state_dict().items() if re.match(pattern, key)}
        found = {key: value for key, value in state.items() if re.match(pattern, key)}
        if wanted and wanted == {key: value.shape for key, value in found.items()}:
            model.load_state_dict(found, strict=False)
            loaded.append(part if has_target or part != "target network" else f"{part} (a copy of the encoder)")
        elif part == "encoder":
            raise RespfmError(f"{path}: cannot start from it, its encoder is not whole")
        elif wanted:
            fresh.append(part)
    fresh += ["optimiser", "learning rate and EMA schedules"]
    return f"from {path}: {', '.join(loaded)}; fresh: {', '.join(fresh)}; statistics: those of the new data"
