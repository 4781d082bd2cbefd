"""Find recordings with the same or nearly the same sound on both sides of a split."""

from pathlib import Path

import pandas as pd
from respfm.audit.duplicates import duplicates
from respfm.files import write_text
from respfm.jobs.job import job
from respfm.recordings import read_recordings, read_tasks
from respfm.retrieve.sources import raw_root

with job(snakemake):
    names = [Path(path).stem for path in snakemake.input.recordings]
    table = duplicates(
        read_tasks(snakemake.input.tasks),
        {Path(path).stem: pd.read_parquet(path) for path in snakemake.input.mixtures},
        dict(zip(names, map(read_recordings, snakemake.input.recordings), strict=True)),
        dict(zip(names, map(raw_root, snakemake.input.sources), strict=True)),
        workers=snakemake.threads,
    )
    write_text(snakemake.output.table, table.to_csv(index=False, float_format="%.6f"))
