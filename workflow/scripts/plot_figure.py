"""Draw a figure; its module is loaded by name."""

import importlib
from pathlib import Path

from respfm.jobs.job import job

with job(snakemake) as cfg:
    figure = importlib.import_module(f"respfm.report.figures.{cfg.pop('kind')}")
    inputs = {
        name: Path(paths) if isinstance(paths, str) else list(map(Path, paths))
        for name, paths in snakemake.input.items()
    }
    figure.draw(**inputs, **cfg, stem=Path(snakemake.output.svg).with_suffix(""))
