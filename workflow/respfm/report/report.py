"""report.html: tables, figures, audit and provenance of a run on one page that loads nothing from the network."""

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from respfm import __version__
from respfm.errors import RespfmError
from respfm.files import digest, write_text
from respfm.report import paper, provenance
from respfm.report.kinds import kind_of
from respfm.report.names import model_title
from respfm.report.results import distinct_cells
from respfm.report.tables import read_csv, table_view


def write_report(
    path: Path,
    *,
    data_kind: str,
    config: Mapping,
    tables: Sequence[Path],
    figures: Sequence[Path],
    audit: Mapping[str, Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    benchmarks: Path,
    repository: Path,
    captions: Path,
    template: Path,
) -> None:
    """Write the report to `path`.

    `config` is the resolved configuration, whose digest is shown. `tables` are csv files of `make_table`, `figures` svg
    files and `audit` csv files by title, each in the order of the report. `benchmarks` is the directory that
    `provenance.rule_costs` reads, `captions` one with a `.rst` file per table and figure, see `caption`. `template` is
    the Jinja template; `report.css`, `report.js` and `differences.yaml` lie beside it. Raises RespfmError for a figure
    that is no svg file or has no caption.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    frames = {table.stem: read_csv(table) for table in map(Path, tables)}
    text = environment.get_template(template.name).render(
        kind=data_kind,
        data=kind_of(data_kind),
        title=config.get("title", "respfm report"),
        style=_inline(template.with_name("report.css"), "</style"),
        script=_inline(template.with_name("report.js"), "</script"),
        summary=summary(frames, models, selected),
        tables=[(stem, caption(captions, stem), table_view(frame)) for stem, frame in frames.items()],
        figures=[_figure(figure, captions) for figure in map(Path, figures)],
        audit=[_audit_view(name, file, captions) for name, file in audit.items()],
        models=[{"title": name, "name": name, **models[name]} for name in selected],
        differences=yaml.safe_load(template.with_name("differences.yaml").read_text(encoding="utf-8")),
        costs=provenance.rule_costs(benchmarks).to_dict("records"),
        commit=provenance.git_commit(repository),
        config_digest=digest(config),
        config_text=json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False),
        versions=provenance.library_versions(),
        hardware=provenance.hardware(),
        citation=paper.CITATION,
        version=__version__,
    )
    write_text(path, text)


def caption(captions: Path, stem: str) -> str:
    """Text of `<stem>.rst`, or of the longest file name that `stem` starts with (`layers` for `layers_m2d`)."""
    parts = stem.split("_")
    for count in range(len(parts), 0, -1):
        file = captions / f"{'_'.join(parts[:count])}.rst"
        if file.is_file():
            return " ".join(file.read_text(encoding="utf-8").split())
    raise RespfmError(f"{captions} has no caption for {stem}; add {parts[0]}.rst")


def summary(frames: Mapping[str, pd.DataFrame], models: Mapping, selected: Sequence[str]) -> list[str]:
    """Sentences that answer: how much ran, what came out best, how it compares."""
    counted = "1 model was" if len(selected) == 1 else f"{len(selected)} models were"
    sentences = [f"{counted} evaluated: {', '.join(model_title(name, models) for name in selected)}."]
    frame = next((frames[name] for name in ("table2", "table2_strict") if name in frames), None)
    if frame is None:
        return sentences
    cells = distinct_cells(frame)
    tasks = cells[cells["reproduced"].notna() & (cells["task"] != paper.AVERAGE)]
    averages = cells[cells["reproduced"].notna() & (cells["task"] == paper.AVERAGE) & ~cells["heard_test"]]
    sentences.append(f"Tasks: {', '.join(dict.fromkeys(tasks['task'])) or 'none'}.")
    if len(averages):
        best = averages.loc[averages["reproduced"].idxmax()]
        title, count = model_title(best["model"], models), int(best["tasks_averaged"])
        sentences.append(
            f"Highest average AUROC under the {frame['protocol'].iloc[0]} protocol: {best['reproduced']:.3f} ({title}, "
            f"{count} of {len(paper.TASKS)} tasks)."
        )
    judged = tasks[tasks["tolerance"].notna()]
    if len(judged):
        within = (judged["difference"].abs() <= judged["tolerance"]).sum()
        sentences.append(f"{within} of {len(judged)} numbers agree with the paper within tolerance.")
    rows = cells[(cells["task"] == paper.AVERAGE) & cells["row"].notna()]
    missing = int(rows["reproduced"].isna().sum())
    sentences.append(
        f"{len(rows) - missing} of the {len(rows)} rows of the paper's Table 2 have numbers of this run; "
        f"{missing} say what they need."
    )
    return sentences


def _figure(svg: Path, captions: Path) -> dict:
    if svg.suffix != ".svg":
        raise RespfmError(f"{svg}: the report embeds svg figures; give it the .svg file of this figure")
    encoded = base64.b64encode(svg.read_bytes()).decode("ascii")
    return {
        "name": svg.stem,
        "source": f"data:image/svg+xml;base64,{encoded}",
        "caption": caption(captions, svg.stem),
    }


def _audit_view(name: str, path: Path, captions: Path) -> dict:
    with open(path, encoding="utf-8", newline="") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    return {"name": name, "header": header, "rows": rows, "caption": caption(captions, name)}


def _inline(path: Path, closing: str) -> Markup:
    """Text of a file for a style or script element, inside which nothing can be escaped."""
    text = path.read_text(encoding="utf-8")
    if closing in text.lower():
        raise RespfmError(f"{path} contains {closing}, which would end its element; write it in two parts")
    return Markup(text)
