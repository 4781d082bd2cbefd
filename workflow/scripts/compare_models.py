"""Compare every model with a reference model on the same test recordings."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.comparisons import compare_models

with job(snakemake) as cfg:
    compare_models(
        scores=snakemake.input.scores,
        predictions=snakemake.input.predictions,
        task_tables=dict(zip(cfg.pop("tasks"), map(Path, snakemake.input.tasks), strict=True)),
        paper_dir=Path(snakemake.input.paper[0]).parent,
        stem=Path(snakemake.output.csv).with_suffix(""),
        **cfg,
    )
