"""Fetch and verify the published checkpoint of one model."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.retrieve.dataset import fetch_dataset
from respfm.retrieve.finder import Finder

with job(snakemake) as cfg:
    name, target = snakemake.wildcards.model, Path(snakemake.output.sources).parent
    finder = Finder(Path(cfg["downloads"]) / name, cfg["mirror"], cfg["offline"])
    fetch_dataset(name, {"title": cfg["title"], "files": [cfg["checkpoint"]]}, target, finder)
