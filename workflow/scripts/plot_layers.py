"""Draw AUROC by layer for one model (Figures 1 and 2)."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.figures.layers import plot_layers

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    plot_layers(
        cfg["model"],
        scores=snakemake.input.scores,
        models=cfg["models"],
        paper_dir=Path(snakemake.input.paper[0]).parent,
        data_kind=cfg["data_kind"],
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
    )
