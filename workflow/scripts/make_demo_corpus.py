"""Write one data set of the synthetic corpus in its publisher's own format."""

from pathlib import Path

from respfm.demo import write_dataset
from respfm.jobs.job import job

with job(snakemake) as cfg:
    write_dataset(
        snakemake.wildcards.dataset,
        {"files": cfg["files"]},
        Path(snakemake.output.manifest).parent,
        cfg["scale"],
        cfg["seed"],
    )
