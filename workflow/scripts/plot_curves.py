"""Draw the training curves of all pre-training runs."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.curves import plot_curves

with job(snakemake) as cfg:
    plot_curves(
        histories=dict(zip(cfg["runs"], map(Path, snakemake.input.histories), strict=True)),
        data_kind=cfg["data_kind"],
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
    )
