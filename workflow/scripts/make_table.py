"""Write one of the paper's tables, reproduced beside published."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.tables import make_table

with job(snakemake) as cfg:
    make_table(
        cfg["number"],
        cfg["protocol"],
        scores=snakemake.input.scores,
        task_tables=dict(zip(cfg["tasks"], map(Path, snakemake.input.tasks), strict=True)),
        models=cfg["models"],
        selected=cfg["selected"],
        paper_dir=Path(snakemake.input.paper[0]).parent,
        data_kind=cfg["data_kind"],
        stem=Path(snakemake.output.csv).with_suffix(""),
        metadata_baselines=Path(snakemake.input.metadata_baselines),
    )
