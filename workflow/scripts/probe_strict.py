"""Fit the strict probe on every layer of a model for one task."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.probe.run import probe_task

with job(snakemake) as cfg:
    probe_task(
        Path(snakemake.input.embeddings),
        Path(snakemake.input.task),
        {},
        "strict",
        Path(snakemake.output.scores),
        Path(snakemake.output.predictions),
        seed=cfg["seed"],
        default_layer=cfg["default_layer"],
        threads=snakemake.threads,
    )
