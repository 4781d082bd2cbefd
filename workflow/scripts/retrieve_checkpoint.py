"""Fetch and verify the published checkpoint of one model."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.retrieve.dataset import fetch_dataset

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    fetch_dataset(
        snakemake.wildcards.model,
        {"title": cfg["title"], "files": [cfg["checkpoint"]]},
        Path(snakemake.output.sources).parent,
        cfg["mirror"],
        offline=cfg["offline"],
        downloads=Path(cfg["downloads"]) / snakemake.wildcards.model,
    )
