"""Write the list of recordings of a pre-training mixture."""

from pathlib import Path

import pandas as pd
from respfm.curate.mixtures import build_mixture
from respfm.files import atomic_path
from respfm.jobs.job import job
from respfm.recordings import read_recordings

with job(snakemake) as cfg:
    table = build_mixture(
        snakemake.wildcards.mixture,
        cfg["mixture"],
        {Path(path).stem: read_recordings(path) for path in snakemake.input.recordings},
        {Path(path).stem: pd.read_parquet(path) for path in snakemake.input.tasks},
        cfg["allow_partial"],
    )
    with atomic_path(snakemake.output.mixture) as temporary:
        table.to_parquet(temporary, index=False)
