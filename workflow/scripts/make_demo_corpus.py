"""Write one data set of the synthetic corpus in its publisher's own format."""

import json
from pathlib import Path

from respfm.demo import write_dataset
from respfm.jobs.job import job_log

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    write_dataset(
        snakemake.wildcards.dataset,
        {"files": cfg["files"]},
        Path(snakemake.output.manifest).parent,
        cfg["scale"],
        cfg["seed"],
    )
