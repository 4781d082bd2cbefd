"""Print what the configuration needs: downloads, disk, work by hand, GPU hours."""

import json

from respfm.cli.main import REPOSITORY
from respfm.cli.needs import describe_needs
from respfm.config.plan import Plan
from respfm.config.settings import load_settings
from respfm.jobs.job import job_log

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    config = json.loads(snakemake.params.cfg)
    print(describe_needs(Plan(load_settings(config, REPOSITORY))))
