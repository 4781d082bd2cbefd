"""Draw leakage and metadata-only baselines beside the models."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.audit import plot_audit

with job(snakemake) as cfg:
    plot_audit(
        leakage=Path(snakemake.input.leakage),
        metadata_baselines=Path(snakemake.input.metadata_baselines),
        scores=snakemake.input.scores,
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
        **cfg,
    )
