"""Draw leakage and metadata-only baselines beside the models."""

import json
from pathlib import Path

from respfm.jobs.job import job_log
from respfm.report.figures.audit import plot_audit

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    plot_audit(
        leakage=Path(snakemake.input.leakage),
        metadata_baselines=Path(snakemake.input.metadata_baselines),
        scores=snakemake.input.scores,
        style=Path(snakemake.input.style),
        stem=Path(snakemake.output.svg).with_suffix(""),
        **json.loads(snakemake.params.cfg),
    )
