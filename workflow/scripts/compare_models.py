"""Compare every model with a reference model on the same test recordings."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.comparisons import compare_models

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    compare_models(
        scores=snakemake.input.scores,
        predictions=snakemake.input.predictions,
        task_tables=dict(zip(cfg.pop("tasks"), map(Path, snakemake.input.tasks), strict=True)),
        paper_dir=Path(snakemake.input.paper[0]).parent,
        stem=Path(snakemake.output.csv).with_suffix(""),
        **cfg,
    )
