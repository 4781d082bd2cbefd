"""Draw a two-dimensional map of one model's embeddings, coloured by the labels of a task."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.figures.embedding_map import plot_embedding_map

with job(snakemake) as cfg:
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
