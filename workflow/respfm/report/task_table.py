"""Table 1 of the paper: the classes of each task, counted in this run's task tables and as printed."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from respfm.report import paper
from respfm.report.kinds import data_kind as kind_of
from respfm.report.render import escape_latex, escape_markdown

SPLITS = ("train", "val", "test")
COUNTED = (*SPLITS, "reproduced", "published", "patients")
NUMBERS = (*COUNTED, "difference")
NOTE = "Counts are recordings; a data set that names no patients has - for their number."
HEADERS = {
    "dataset": "Dataset",
    "task": "ID",
    "title": "Task",
    "modality": "Modality",
    "class": "Class",
    "reproduced": "Reproduced",
    "published": "Published",
    "difference": "Difference",
    "train": "Train",
    "val": "Val",
    "test": "Test",
    "patients": "Patients",
    "status": "Status",
}


def task_table(protocol: str, task_tables: Mapping[str, Path], paper_dir: Path, data_kind: str) -> pd.DataFrame:
    """One row per class: recordings (all, and per split) and patients, published count, difference.

    Tasks of the paper that this run has not keep their published counts and say what they need; tasks that the
    paper does not have follow.
    """
    printed = paper.read_classes(paper_dir)
    rows = []
    for task, classes in printed.groupby("task", sort=False):
        counts = _counts(task_tables[task]) if task in task_tables else None
        for line in classes.itertuples():
            row = {"dataset": line.dataset, "task": task, "title": line.title, "modality": line.modality}
            row |= {"class": classes.loc[line.Index, "class"], "label": line.label, "published": line.samples}
            rows.append(row | _class_counts(counts, line.label, line.dataset))
    for task in task_tables:
        if task not in set(printed["task"]):
            counts = _counts(task_tables[task])
            for label, name in counts[["label", "label_name"]].drop_duplicates().itertuples(index=False):
                row = {
                    "dataset": "",
                    "task": task,
                    "title": "",
                    "modality": "",
                    "class": name,
                    "label": label,
                }
                rows.append(row | _class_counts(counts, label, ""))
    frame = pd.DataFrame(rows)
    frame = frame.astype(dict.fromkeys(COUNTED, "Int64"))
    frame["difference"] = frame["reproduced"] - frame["published"]
    leading = {"table": 1, "protocol": protocol, "data_kind": data_kind}
    return frame.assign(**leading)[[*leading, "label", *HEADERS]]


def _counts(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path, columns=["recording", "label", "label_name", "split", "patient"])


def _class_counts(rows: pd.DataFrame | None, label: int, dataset: str) -> dict:
    if rows is None:
        return {
            "reproduced": None,
            **dict.fromkeys(SPLITS),
            "patients": None,
            "status": f"not run: needs {dataset}",
        }
    members = rows[rows["label"] == label]
    named = members.loc[members["patient"] != "", "patient"]
    return {
        "reproduced": len(members),
        **{split: int((members["split"] == split).sum()) for split in SPLITS},
        "patients": named.nunique() if len(named) else None,
        "status": "ok",
    }


def markdown(frame: pd.DataFrame) -> str:
    """The table as GitHub Markdown, headed by what the data are."""
    kind = kind_of(frame["data_kind"].iloc[0])
    lines = [f"# {title(frame)}", "", f"> **{kind.badge}.** {kind.sentence}", ""]
    lines.append(f"| {' | '.join(HEADERS.values())} |")
    lines.append(f"|{'|'.join([' --- '] * 5 + [' ---: '] * 7 + [' --- '])}|")
    lines += [f"| {' | '.join(map(escape_markdown, texts(row)))} |" for _, row in frame.iterrows()]
    return "\n".join([*lines, "", NOTE, ""])


def latex(frame: pd.DataFrame) -> str:
    """The table as a LaTeX `table*` for booktabs; needs the packages booktabs and graphicx."""
    kind = kind_of(frame["data_kind"].iloc[0])
    protocol = frame["protocol"].iloc[0]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{paper.TITLES[1]} ({protocol} protocol). \textbf{{{kind.badge}.}} {kind.sentence}}}",
        r"\resizebox{\textwidth}{!}{%",
        r"\begin{tabular}{lllllrrrrrrrl}",
        r"\toprule",
        rf"{' & '.join(HEADERS.values())} \\",
    ]
    previous = None
    for _, row in frame.iterrows():
        if row["dataset"] != previous:
            lines.append(r"\midrule")
        previous = row["dataset"]
        lines.append(rf"{' & '.join(map(escape_latex, texts(row)))} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def title(frame: pd.DataFrame) -> str:
    return f"Table 1 ({frame['protocol'].iloc[0]} protocol): {paper.TITLES[1]}"


def texts(row: pd.Series) -> list[str]:
    texts = []
    for column in HEADERS:
        value = row[column]
        if pd.isna(value) or value == "":
            texts.append("-")
        else:
            texts.append(f"{value:+d}" if column == "difference" and value else str(value))
    return texts
