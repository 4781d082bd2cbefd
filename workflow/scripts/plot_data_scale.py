"""Draw AUROC against the amount of respiratory pre-training data (Table 4 as a curve)."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.data_scale import plot_data_scale

with job(snakemake) as cfg:
    plot_data_scale(
        scores=snakemake.input.scores,
        paper_dir=Path(snakemake.input.paper[0]).parent,
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
        **cfg,
    )
