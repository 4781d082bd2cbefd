"""Fit the strict probe on every layer of a model for one task."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.probe.run import probe_task
from respfm.probe.strict import probe

with job(snakemake) as cfg:
    probe_task(
        Path(snakemake.input.embeddings),
        Path(snakemake.input.task),
        {},
        probe,
        Path(snakemake.output.scores),
        Path(snakemake.output.predictions),
        seed=cfg["seed"],
        default_layer=cfg["default_layer"],
        threads=snakemake.threads,
    )
