"""Train the published linear probe on every layer of a model for one task."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.probe.published import probe
from respfm.probe.run import probe_task

with job(snakemake) as cfg:
    probe_task(
        Path(snakemake.input.embeddings),
        Path(snakemake.input.task),
        cfg["training"],
        probe,
        Path(snakemake.output.scores),
        runs=cfg["runs"],
        seed=cfg["seed"],
        default_layer=cfg["default_layer"],
        threads=snakemake.threads,
    )
