"""What pre-training gains on real recordings: scores of a small M2D against its random start and log-mel statistics.

The respiratory cycles of ICBHI are cut out first, in one folder per finding. Then config/real-gain.yaml runs once per
seed: its own splits by patient, its own pre-training without their test patients. Snakemake makes again only what
depends on the seed; scores of finished seeds are kept beside the results. Prints per task the mean test AUROC of the
layer chosen on validation, and the paired differences with their standard errors over the seeds.
"""

import argparse
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "real-gain"
ICBHI = ROOT.parent / "shared" / "data" / "real-sample" / "icbhi" / "ICBHI_final_database.zip"
CYCLES = RESULTS / "cycles"
FINDINGS = {(0, 0): "neither", (1, 0): "crackles", (0, 1): "wheezes", (1, 1): "both"}
SECONDS = 2.1  # of an input; shorter cycles take in what follows or, at the end, precedes
PRETRAINED = "m2d_real_gain"
CONTROLS = {"m2d_real_random": "random weights", "logmel_stats": "log-mel statistics"}


def cut_cycles() -> None:
    """Every annotated cycle as <finding>/<recording>_<number>.wav below CYCLES, which is there once it is whole."""
    if not ICBHI.is_file():
        raise SystemExit(f"{ICBHI} is missing; it is part of the shared sample of real recordings")
    draft = CYCLES.with_name("cycles.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(ICBHI) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".wav")):
            with archive.open(name) as file:
                sound = soundfile.SoundFile(file)
                samples, rate = sound.read(dtype="int32"), sound.samplerate
            with archive.open(name.replace(".wav", ".txt")) as file:
                cycles = np.loadtxt(file, ndmin=2)
            for number, (start, end, crackles, wheezes) in enumerate(cycles):
                end = min(max(end, start + SECONDS), len(samples) / rate)
                start = max(0, min(start, end - SECONDS))
                path = draft / FINDINGS[crackles, wheezes] / f"{Path(name).stem}_{number:02d}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples[round(start * rate) : round(end * rate)], rate, sound.subtype)
    draft.rename(CYCLES)


def run(seed: int, cores: int) -> pd.Series:
    """Test AUROC by (task, model) of one seed."""
    kept = RESULTS / f"seed{seed}.csv"
    if kept.is_file():
        return pd.read_csv(kept, index_col=[0, 1]).squeeze()
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    options = ["--cores", str(cores), "--configfile", "config/real-gain.yaml", "--config", f"seed={seed}"]
    subprocess.run([snakemake, "probe_all", "--quiet", "all", *options], cwd=ROOT, check=True)
    scores = {}
    for path in sorted((RESULTS / "scores" / "strict").glob("*/*.csv")):
        table = pd.read_csv(path)
        scores[path.stem, path.parent.name] = table.loc[table["chosen"], "auroc_test"].item()
    found = pd.Series(scores)
    found.to_csv(kept)
    return found


def summarise(scores: pd.DataFrame) -> str:
    """Markdown table of `scores`, one row per seed and one column per (task, model)."""
    titles = [f"{title} | gain" for title in CONTROLS.values()]
    lines = [f"| task | pre-trained | {' | '.join(titles)} |", "|---" * (2 + 2 * len(CONTROLS)) + "|"]
    for task in scores.columns.get_level_values(0).unique():
        own = scores[task][PRETRAINED]
        cells = [task, f"{own.mean():.3f}"]
        for control in CONTROLS:
            gain = own - scores[task][control]
            cells += [f"{scores[task][control].mean():.3f}", f"{gain.mean():+.3f} ± {gain.sem():.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    start = time.monotonic()
    if not CYCLES.exists():
        cut_cycles()
    scores = pd.DataFrame({seed: run(seed, options.cores) for seed in options.seeds}).T
    print(scores.T.to_string(float_format="%.3f"))
    print(summarise(scores))
    print(f"seeds {', '.join(map(str, options.seeds))}; {(time.monotonic() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()
