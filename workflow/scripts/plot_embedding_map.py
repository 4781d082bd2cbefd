"""Draw a two-dimensional map of one model's embeddings, coloured by the labels of a task."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.figures.embedding_map import plot_embedding_map

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    plot_embedding_map(
        cfg["task"],
        task_table=Path(snakemake.input.task),
        embeddings={cfg["model"]: Path(snakemake.input.embeddings)},
        models=cfg["models"],
        seed=cfg["seed"],
        data_kind=cfg["data_kind"],
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
    )
