"""Count the recordings and patients that test and validation share with training data and mixtures."""

from pathlib import Path

import pandas as pd
from respfm.audit.leakage import leakage
from respfm.files import write_text
from respfm.jobs.job import job
from respfm.recordings import read_recordings, read_tasks

with job(snakemake):
    table = leakage(
        read_tasks(snakemake.input.tasks),
        {Path(path).stem: pd.read_parquet(path) for path in snakemake.input.mixtures},
        {Path(path).stem: read_recordings(path) for path in snakemake.input.recordings},
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
