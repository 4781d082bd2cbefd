"""Print what the configuration needs: downloads, disk, work by hand, GPU hours."""

import json

from respfm.cli import REPOSITORY
from respfm.config import load_settings
from respfm.joblog import job_log
from respfm.plan import Plan
from respfm.requirements import describe_needs

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    config = json.loads(snakemake.params.cfg)
    print(describe_needs(Plan(load_settings(config, REPOSITORY))))
