"""Print what the configuration needs: downloads, disk, work by hand, GPU hours."""

from respfm.cli.main import REPOSITORY
from respfm.cli.needs import describe_needs
from respfm.config.plan import Plan
from respfm.config.settings import load_settings
from respfm.jobs.job import job

with job(snakemake) as cfg:
    print(describe_needs(Plan(load_settings(cfg, REPOSITORY))))
