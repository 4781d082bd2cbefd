"""What a cache of waveforms saves: decoding and resampling for each model against reading what was decoded once.

    python benchmarks/bench_decode.py [--real ../shared/data/real-sample] [--rounds 3]

For each sample rate that models of the zoo take, seconds of CPU time and megabytes for an hour of real recordings (zip
archives below `--real`, one thread, files in the page cache): decode and resample; read float32 samples from the
cache that the workflow keeps, its checksum compared; read float16 and int16 samples; read 16-bit FLAC. Errors are the
largest differences to the exact samples in decibels relative to the recording's loudest sample, the median over the
recordings. The embeddings of all models are exact only with float32.
"""

import argparse
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import soundfile
from report import report
from respfm import audio
from respfm.config.reading import read_yaml
from respfm.curate.inspect import inspect_recordings
from respfm.embed.waveforms import read_waveforms, write_waveforms
from respfm.files import file_digest

CONFIG = Path(__file__).resolve().parents[1] / "config"
RATES = (16000, 32000, 44100, 48000)
SUFFIXES = {".wav", ".ogg", ".flac", ".mp3", ".webm"}


def find_recordings(source: Path, folder: Path) -> pd.DataFrame:
    """Usable recordings of the archives below `source`, unpacked to `folder`."""
    for archive in sorted(source.rglob("*.zip")):
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder / archive.parent.name)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in SUFFIXES)
    table = inspect_recordings(pd.DataFrame({"id": names, "path": names, "patient": ""}), folder, workers=2)
    return table[table["quarantine"] == ""]


def jobs_at(rate: int) -> int:
    """Embedding jobs of config/paper.yaml that take `rate`, for each data set."""
    models, paper = (read_yaml(CONFIG / f"{name}.yaml") for name in ("models", "paper"))
    return len(paper["protocols"]) * sum(models[name]["sample_rate"] == rate for name in paper["models"])


def cpu_seconds(call: Callable[[], object], rounds: int) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def read_narrow(path: Path) -> None:
    """All samples of a file of HDF5 arrays as float32."""
    with h5py.File(path) as file:
        for values in file.values():
            values[:].astype(np.float32)


def read_kept(cache: Path, ids: list[str], rate: int) -> None:
    """What an embedding job does: compare the checksum, then read waveform by waveform."""
    file_digest(cache)
    for _ in read_waveforms(cache, ids, rate):
        pass


def write_forms(folder: Path, waveforms: list[np.ndarray]) -> dict[str, tuple[Callable[[], object], float, float]]:
    """Reader, bytes and error in dB of each inexact form, written to `folder`."""
    forms = {}
    narrow = {"float16": lambda x: x.astype(np.float16), "int16": lambda x: np.rint(x * 32767).clip(-32768, 32767)}
    for name, convert in narrow.items():
        path, errors = folder / f"{name}.h5", []
        with h5py.File(path, "w") as file:
            for index, waveform in enumerate(waveforms):
                values = convert(waveform).astype(name)
                file[str(index)] = values
                back = values.astype(np.float32) / (32767 if name == "int16" else 1)
                errors.append(decibels(np.abs(back - waveform).max(), np.abs(waveform).max()))
        forms[f"{name} HDF5"] = (lambda path=path: read_narrow(path), path.stat().st_size, statistics.median(errors))
    files, errors = [folder / f"{index}.flac" for index in range(len(waveforms))], []
    for file, waveform in zip(files, waveforms, strict=True):
        soundfile.write(file, waveform, 48000, subtype="PCM_16")
        back = soundfile.read(file, dtype="float32")[0]
        errors.append(decibels(np.abs(back - waveform).max(), np.abs(waveform).max()))
    size = sum(file.stat().st_size for file in files)
    forms["16-bit FLAC"] = (
        lambda: [soundfile.read(file, dtype="float32") for file in files], size, statistics.median(errors)
    )  # fmt: skip
    return forms


def decibels(difference: float, peak: float) -> float:
    """Difference relative to the peak; -200 for none."""
    return 20 * np.log10(max(difference / peak, 1e-10))


def compare(kind: str, table: pd.DataFrame, root: Path, rate: int, folder: Path, rounds: int) -> None:
    """Print the rows of one rate for the recordings of `table`, whose format is `kind`."""
    paths, ids = [root / name for name in table["path"]], list(table["id"])
    hours = table["seconds"].sum() / 3600
    cache = folder / f"{rate}.h5"
    write_waveforms(cache, table, root, rate)
    waveforms = list(read_waveforms(cache, ids, rate))
    forms = write_forms(folder, waveforms)
    del waveforms
    decode = cpu_seconds(lambda: [audio.load(path, rate) for path in paths], rounds) / hours
    forms = {"float32, kept": (lambda: read_kept(cache, ids, rate), cache.stat().st_size, -200.0), **forms}
    print(f"{rate} Hz, per hour of sound: decode and resample {decode:.2f} s")
    for name, (read, size, error) in forms.items():
        seconds = cpu_seconds(read, rounds) / hours
        exact = "exact" if error == -200 else f"error {error:.0f} dB"
        print(f"  {name:14} {size / hours / 1e6:6.0f} MB, read {seconds:.2f} s ({decode / seconds:.1f}x), {exact}")
        if name == "float32, kept":
            jobs = jobs_at(rate)
            report(
                f"waveforms at {rate} Hz for {jobs} embedding jobs, an hour of real recordings ({kind})",
                f"decoded once and read from the cache {decode + jobs * seconds:.1f} CPU s",
                f"decoded by each job {jobs * decode:.1f} CPU s",
                jobs * decode / (decode + jobs * seconds),
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/real-sample"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.real.is_dir():
        sys.exit(f"skipped: {options.real} is not a folder with real recordings; name one with --real")
    with tempfile.TemporaryDirectory() as temporary:
        root, folder = Path(temporary) / "recordings", Path(temporary)
        table = find_recordings(options.real, root)
        for name, part in [("all formats", table), *table.groupby(table["path"].str.rpartition(".")[2])]:
            print(f"{name}: {len(part)} recordings, {part['seconds'].sum() / 60:.0f} min")
            if part["seconds"].sum() > 60:
                for rate in RATES if name == "all formats" else RATES[:1]:
                    compare(name, part, root, rate, folder, options.rounds)


if __name__ == "__main__":
    main()
