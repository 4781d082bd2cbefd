"""Draw AUROC by layer for one model (Figures 1 and 2)."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.layers import plot_layers

with job(snakemake) as cfg:
    plot_layers(
        cfg["model"],
        scores=snakemake.input.scores,
        models=cfg["models"],
        paper_dir=Path(snakemake.input.paper[0]).parent,
        data_kind=cfg["data_kind"],
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
    )
