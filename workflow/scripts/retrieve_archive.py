"""Fetch, verify and unpack the files of one data set."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.retrieve.dataset import fetch_dataset

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
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
