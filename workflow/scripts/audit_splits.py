"""Count what tasks and mixtures share, find duplicates across splits, and score metadata-only classifiers."""

from pathlib import Path

import pandas as pd
from respfm.audit.duplicates import duplicates
from respfm.audit.leakage import leakage
from respfm.audit.metadata_baselines import metadata_baselines
from respfm.files import atomic_path
from respfm.joblog import job_log
from respfm.recordings import read_recordings
from respfm.sources import raw_root

with job_log(snakemake.log[0]):
    tasks = {(Path(path).parent.name, Path(path).stem): pd.read_parquet(path) for path in snakemake.input.tasks}
    mixtures = {Path(path).stem: pd.read_parquet(path) for path in snakemake.input.mixtures}
    recordings = {Path(path).stem: read_recordings(path) for path in snakemake.input.recordings}
    roots = {Path(path).parent.name: raw_root(path) for path in snakemake.input.sources}
    for path, table in (
        (snakemake.output.leakage, leakage(tasks, mixtures, recordings)),
        (snakemake.output.duplicates, duplicates(tasks, mixtures, recordings, roots, snakemake.threads)),
        (snakemake.output.metadata_baselines, metadata_baselines(tasks, recordings)),
    ):
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False)
