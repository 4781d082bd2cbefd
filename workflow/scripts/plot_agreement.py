"""Draw published against reproduced AUROC."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.agreement import plot_agreement

with job(snakemake) as cfg:
    plot_agreement(
        scores=snakemake.input.scores,
        paper_dir=Path(snakemake.input.paper[0]).parent,
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
        **cfg,
    )
