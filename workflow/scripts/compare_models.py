"""Compare every model with a reference model on the same test recordings."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.comparisons import compare_models
from respfm.report.shown import Shown

with job(snakemake) as cfg:
    compare_models(
        Shown(cfg["models"], cfg["selected"], Path(snakemake.input.paper[0]).parent, cfg["data_kind"]),
        scores=snakemake.input.scores,
        predictions=snakemake.input.predictions,
        task_tables=dict(zip(cfg["tasks"], map(Path, snakemake.input.tasks), strict=True)),
        seed=cfg["seed"],
        stem=Path(snakemake.output.csv).with_suffix(""),
    )
