"""Write one of the paper's tables, this run's numbers beside the paper's."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.shown import Shown
from respfm.report.tables import make_table

with job(snakemake) as cfg:
    make_table(
        cfg["number"],
        cfg["protocol"],
        Shown(cfg["models"], cfg["selected"], Path(snakemake.input.paper[0]).parent, cfg["data_kind"]),
        scores=snakemake.input.scores,
        task_tables=dict(zip(cfg["tasks"], map(Path, snakemake.input.tasks), strict=True)),
        stem=Path(snakemake.output.csv).with_suffix(""),
        metadata_baselines=Path(snakemake.input.metadata_baselines),
    )
