"""Draw published against reproduced AUROC."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.figures.agreement import plot_agreement

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    plot_agreement(
        scores=snakemake.input.scores,
        paper_dir=Path(snakemake.input.paper[0]).parent,
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
        **cfg,
    )
