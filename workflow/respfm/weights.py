"""Reading checkpoint files of others without running code that is inside them."""

import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from respfm.errors import RespfmError

_FOREIGN = {b"respfm ": "a shard", b"\x89HDF": "an HDF5 file", b"RIFF": "a recording", b"OggS": "a recording"}


def read_weights(path: str | Path, trust: bool = False, allow: Sequence[type] = ()) -> Any:
    """The content of a PyTorch file (usually a dictionary) or the tensors of a .safetensors file, on the CPU.

    Pickles may hold tensors, plain containers and the types in `allow`; anything else is refused unless
    `trust`. Raises RespfmError for a missing or incomplete file, an HTML page, or something else that is no
    checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        what = (
            "this is a folder; name the checkpoint file in it" if path.is_dir() else "there is no such checkpoint file"
        )
        raise RespfmError(f"{path}: {what}")
    with path.open("rb") as stream:
        head = stream.read(256)
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise RespfmError(f"{path}: this is an HTML page, not a checkpoint; download the file itself again")
    if kind := next((what for start, what in _FOREIGN.items() if head.startswith(start)), None):
        raise RespfmError(f"{path}: this is {kind}, not a checkpoint; name a file .pth, .pt, .ckpt or .safetensors")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)[0]
    try:
        _check_members(path)
        with torch.serialization.safe_globals(list(allow)):
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise RespfmError(
                f"{path}: this pickle wants to create {foreign[1]}, which could run code; set `trust: true` "
                "only if you trust where the file comes from"
            ) from error
        raise RespfmError(f"{path}: this is not a PyTorch checkpoint, or is damaged; get it again") from error
    except ImportError as error:
        raise RespfmError(
            f"{path}: this pickle holds objects of the package {error.name!r}, which is not installed"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, zipfile.BadZipFile) as error:
        raise RespfmError(
            f"{path}: this checkpoint is incomplete or damaged ({path.stat().st_size} bytes); get it again"
        ) from error


def _check_members(path: Path) -> None:
    """Compare what is in a zip file, which PyTorch writes by default, with its checksums, which PyTorch never reads."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if member := file.testzip():
                raise zipfile.BadZipFile(f"{member} does not match its checksum")


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text metadata of a .safetensors file."""
    return _read_safetensors(Path(path))[1]


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise RespfmError(
            f"{path}: this checkpoint is incomplete or damaged ({path.stat().st_size} bytes); get it again"
        ) from error
