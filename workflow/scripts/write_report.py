"""Write the self-contained report page."""

from pathlib import Path

from respfm.jobs.job import job
from respfm.report.report import write_report

with job(snakemake) as cfg:
    template = Path(snakemake.input.page[0])
    write_report(
        Path(snakemake.output.page),
        tables=snakemake.input.tables,
        figures=snakemake.input.figures,
        audit={Path(path).stem: Path(path) for path in snakemake.input.audit},
        benchmarks=Path(snakemake.output.page).parent / "benchmarks",
        repository=template.parents[2],
        captions=Path(snakemake.input.captions[0]).parent,
        template=template,
        **cfg,
    )
