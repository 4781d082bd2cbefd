"""What pre-training gains on real recordings: scores of a small M2D against its random start and log-mel statistics.

    python benchmarks/pretraining_gain.py [--draws 30] [--cores 2]

The respiratory cycles of ICBHI are cut out first, those of its official training and test part apart, in one folder per
finding. Then pretraining_gain.yaml pre-trains and embeds: several seeds, and each one's random start. Every task is
split by patient again and again, and the strict probe runs on each split. Prints per task the mean test AUROC of the
layer chosen on validation, the differences with their standard errors over the splits, and those of each seed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from respfm.config.plan import Plan
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.curate.tasks import build_task
from respfm.errors import RespfmError
from respfm.probe import strict
from respfm.probe.run import probe_task
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Path(__file__).with_suffix(".yaml")
RESULTS = ROOT / "results" / "real-gain"
ICBHI = ROOT.parent / "shared" / "data" / "real-sample" / "icbhi"
CYCLES = RESULTS / "icbhi_cycles"
FINDINGS = {(0, 0): "neither", (1, 0): "crackles", (0, 1): "wheezes", (1, 1): "both"}
SECONDS = 2.1  # of an input; shorter cycles take in what follows or, at the end, precedes
PRETRAINED, START, STATISTICS = "real_gain_", "real_start_", "logmel_stats"


def official_parts(path: Path) -> dict[str, str]:
    """`train` or `test` of each patient; the one who is in both is in `train`."""
    rows = sorted(line.split() for line in path.read_text().splitlines())
    in_training = {name.partition("_")[0] for name, part in rows if part == "train"}
    return {patient: "train" if patient in in_training else "test" for patient in (name[:3] for name, _ in rows)}


def cut_cycles() -> None:
    """Every annotated cycle as <part>/<finding>/<recording>_<number>.wav below CYCLES, which is there when whole."""
    database = ICBHI / "ICBHI_final_database.zip"
    if not database.is_file():
        raise SystemExit(f"{database} is missing; it is part of the shared sample of real recordings")
    parts = official_parts(ICBHI / "ICBHI_challenge_train_test.txt")
    draft = CYCLES.with_name("cycles.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(database) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".wav")):
            with archive.open(name) as file:
                sound = soundfile.SoundFile(file)
                samples, rate = sound.read(dtype="int32"), sound.samplerate
            with archive.open(name.replace(".wav", ".txt")) as file:
                cycles = np.loadtxt(file, ndmin=2)
            for number, (start, end, crackles, wheezes) in enumerate(cycles):
                end = min(max(end, start + SECONDS), len(samples) / rate)
                start = max(0, min(start, end - SECONDS))
                stem = Path(name).stem
                path = draft / parts[stem[:3]] / FINDINGS[crackles, wheezes] / f"{stem}_{number:02d}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples[round(start * rate) : round(end * rate)], rate, sound.subtype)
    draft.rename(CYCLES)


def embed(cores: int) -> None:
    """Pre-training and the embeddings of all models, by the workflow."""
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    command = [snakemake, "embed_all", "--cores", str(cores), "--configfile", str(CONFIG), "--quiet", "all"]
    subprocess.run(command, cwd=ROOT, check=True)


def splits(name: str, task: dict, recordings: pd.DataFrame, count: int) -> list[pd.DataFrame]:
    """The first `count` draws by patient that leave no part of the task without a class."""
    found: list[pd.DataFrame] = []
    reason = ""
    for seed in range(10 * count):
        try:
            found.append(build_task(name, task, "strict", recordings, None, seed))
        except RespfmError as error:
            reason = str(error)
            continue
        if len(found) == count:
            return found
    raise SystemExit(f"only {len(found)} of {10 * count} draws can be used; the last that cannot: {reason}")


def probe(plan: Plan, draws: int, cores: int) -> pd.DataFrame:
    """Test AUROC of the chosen layer, one row per (task, draw) and one column per model."""
    scores: dict[tuple[str, int], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in plan.tasks:
            entry = plan.settings.tasks[name]
            dataset = entry["dataset"]
            recordings = pd.read_parquet(RESULTS / "recordings" / f"{dataset}.parquet")
            table, csv = Path(folder) / f"{name}.parquet", Path(folder) / "scores.csv"
            for draw, frame in enumerate(tqdm(splits(name, entry, recordings, draws), desc=name)):
                frame.to_parquet(table)
                for model in plan.models:
                    embeddings = RESULTS / "embeddings" / "strict" / model / f"{dataset}.h5"
                    probe_task(embeddings, table, entry, strict.probe, csv, threads=cores)
                    layers = pd.read_csv(csv)
                    scores.setdefault((name, draw), {})[model] = layers.loc[layers["chosen"], "auroc_test"].item()
    return pd.DataFrame(scores).T


def summarise(scores: pd.DataFrame) -> str:
    """Markdown table of `scores`: means over draws and seeds, gains with standard errors over draws, gains by seed."""
    lines = [
        "| task | pre-trained | random start | gain | by seed | log-mel statistics | gain | by seed |",
        "|---" * 8 + "|",
    ]
    own = scores.filter(regex=f"^{PRETRAINED}").rename(columns=lambda name: name.removeprefix(PRETRAINED))
    start = scores.filter(regex=f"^{START}").rename(columns=lambda name: name.removeprefix(START))
    for task in scores.index.get_level_values(0).unique():
        cells = [task, f"{own.loc[task].mean(axis=None):.3f}"]
        for control in (start.loc[task], scores.loc[task, STATISTICS]):
            gains = own.loc[task].sub(control, axis=0)
            over_draws = gains.mean(axis=1)
            cells += [
                f"{np.mean(control.to_numpy()):.3f}",
                f"{over_draws.mean():+.3f} ± {over_draws.sem():.3f}",
                ", ".join(f"{gain:+.3f}" for gain in gains.mean()),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    start = time.monotonic()
    if not CYCLES.exists():
        cut_cycles()
    embed(options.cores)
    plan = Plan(load_settings(read_yaml(CONFIG), ROOT, CONFIG.name))
    print(summarise(probe(plan, options.draws, options.cores)))
    print(f"{options.draws} draws; {(time.monotonic() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()
