"""Fit the strict probe on every layer of a model for one task."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.probe.run import probe_task

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
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
