"""Fetch, verify and unpack the files of one data set."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.retrieve.dataset import fetch_dataset, use_local
from respfm.retrieve.finder import Finder

with job(snakemake) as cfg:
    name, target = snakemake.wildcards.dataset, Path(snakemake.output.sources).parent
    if cfg["local"]:
        use_local(name, cfg["entry"], target, Path(cfg["local"]))
    else:
        finder = Finder(Path(cfg["downloads"]) / name, cfg["mirror"], cfg["offline"], cfg["allow_partial"])
        fetch_dataset(name, cfg["entry"], target, finder)
