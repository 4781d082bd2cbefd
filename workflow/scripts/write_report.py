"""Write the self-contained report page."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.report import write_report

with job(snakemake) as cfg:
    write_report(
        Path(snakemake.output.page),
        tables=snakemake.input.tables,
        figures=snakemake.input.figures,
        audit={Path(path).stem: Path(path) for path in snakemake.input.audit},
        benchmarks=Path(snakemake.params.benchmarks),
        repository=Path(snakemake.params.repository),
        captions=Path(snakemake.input.captions[0]).parent,
        template=Path(snakemake.input.template),
        **cfg,
    )
