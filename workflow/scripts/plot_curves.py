"""Draw the training curves of all pre-training runs."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.figures.curves import plot_curves

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    plot_curves(
        histories=dict(zip(cfg["runs"], map(Path, snakemake.input.histories), strict=True)),
        data_kind=cfg["data_kind"],
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
    )
