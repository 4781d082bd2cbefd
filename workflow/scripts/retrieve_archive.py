"""Fetch, verify and unpack the files of one data set."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.retrieve.dataset import fetch_dataset

with job(snakemake) as cfg:
    fetch_dataset(
        snakemake.wildcards.dataset,
        cfg["entry"],
        Path(snakemake.output.sources).parent,
        cfg["mirror"],
        offline=cfg["offline"],
        local=cfg["local"],
        allow_partial=cfg["allow_partial"],
        downloads=Path(cfg["downloads"]) / snakemake.wildcards.dataset,
    )
