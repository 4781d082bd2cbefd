"""Golden log-mel numbers of the M2D reference, and the real recordings of the shared sample."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parents[1] / "golden" / "m2d"
LOGMEL = np.load(DIRECTORY / "logmel_seed0.npz")
MEL_FILTERS = np.load(DIRECTORY / "melbasis.npz")

_SUFFIXES = {".wav", ".ogg", ".webm", ".mp3", ".flac"}


def unpack_recordings(shared_data: Path, target: Path, datasets: tuple[str, ...]) -> list[Path]:
    """Unpack the recordings of some data sets of the real sample; their paths in order."""
    for dataset in datasets:
        source, folder = shared_data / "real-sample" / dataset, target / dataset
        for archive in sorted(source.glob("*.zip")):
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
        parts = sorted(source.rglob("*.tar.gz.*"))
        if parts:
            joined = io.BytesIO(b"".join(part.read_bytes() for part in parts))
            with tarfile.open(fileobj=joined) as content:
                content.extractall(folder, filter="data")
    return sorted(path for path in target.rglob("*") if path.suffix in _SUFFIXES)
