"""Fetch and verify the published checkpoint of one model."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.retrieve.dataset import fetch_dataset

with job(snakemake) as cfg:
    fetch_dataset(
        snakemake.wildcards.model,
        {"title": cfg["title"], "files": [cfg["checkpoint"]]},
        Path(snakemake.output.sources).parent,
        cfg["mirror"],
        offline=cfg["offline"],
        downloads=Path(cfg["downloads"]) / snakemake.wildcards.model,
    )
