"""Names and metadata of others are text, in paths, messages, tables and pages."""

import csv
import html
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from browser import EVIL, browse
from report_run import CAPTIONS, TEMPLATE
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.report.latex import escape_latex
from respfm.report.markdown import escape_markdown
from respfm.report.report import write_report
from workspace import REPOSITORY, Workspace

HOSTILE_NAMES = [
    "; touch PWNED;",
    "$(touch PWNED)",
    "`touch PWNED`",
    "&& touch PWNED || > PWNED",
    "--help -rf",
    "first\nsecond",
    "\r\x1b[31mred\x07\x7f\x85",
    "\u202egnp.exe\u2066",
    "z\u200bero",
    "'\" \\ ..\\..\\",
    "{wildcards.x} {input} {",
    "%s%n*?[a]",
    EVIL.replace("/", "\\"),
    "=HYPERLINK(1)",
    "long" * 45,
]


@pytest.mark.workflow
@pytest.mark.slow
def test_names_of_recordings_go_through_every_stage_as_they_are(tmp_path):
    workspace = Workspace(tmp_path)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rng = np.random.default_rng(0)
    sounds = [0.1 * np.sin(np.arange(8000) * (0.02 + 0.05 * (i % 3))) + 0.02 * rng.normal(size=8000) for i in range(36)]
    sounds[17] = sounds[1]
    names = []
    for i, sound in enumerate(sounds):
        hostile = HOSTILE_NAMES[i] if i < len(HOSTILE_NAMES) else "P L"
        names.append(f"BP{i + 1}_{('N', 'asthma', 'COPD')[i % 3]},E W,{hostile},{20 + i},M")
        soundfile.write(corpus / f"{names[-1]}.wav", sound, 4000)
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "none").touch()
    registry = tmp_path / "config" / "pretraining.yaml"
    entries = yaml.safe_load(registry.read_text())
    entries["mixtures"]["all"] = {"parts": [{"dataset": "kauh"}]}
    entries["runs"]["all"] = {"title": "All", "mixture": "all", "epochs": 1, "batch_size": 4}
    registry.write_text(yaml.safe_dump(entries))
    change = {
        "results": "results/names",
        "protocols": ["strict"],
        "tasks": ["T10"],
        "models": ["logmel_stats"],
        "runs": ["all"],
        "figures": {"layers": [], "embedding_map": ""},
        "local": {"kauh": "corpus", "opera": "arrays"},
        "change": {"tasks": {"T10": {"splits": "redraw"}}},
    }
    (tmp_path / "change.yaml").write_text(yaml.safe_dump(change))
    results = tmp_path / "results" / "names"
    ends = ["statistics/all.json", "scores/strict/logmel_stats/T10.csv", "audit/duplicates.csv"]
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "results")}
    configs = ("--configfile", "config/config.yaml", "change.yaml")
    workspace.snakemake(*configs, "--", *(f"results/names/{end}" for end in ends))

    assert sorted(pd.read_parquet(results / "recordings" / "kauh.parquet")["id"]) == sorted(names)
    assert sorted(pd.read_parquet(results / "mixtures" / "all.parquet")["recording"]) == sorted(names)
    predictions = pd.read_parquet(results / "scores" / "strict" / "logmel_stats" / "T10.predictions.parquet")
    assert set(predictions["recording"]) <= set(names)
    with open(results / "audit" / "duplicates.csv", newline="", encoding="utf-8") as stream:
        copies = list(csv.DictReader(stream))
    assert {row["recording"] for row in copies} <= {names[1], names[17]}
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "results")} - before
    assert {path.relative_to(tmp_path).parts[0] for path in outside} <= {".snakemake"}
    assert not list(tmp_path.rglob("PWNED"))
    assert workspace.jobs(*configs, "--", *(f"results/names/{end}" for end in ends)) == {}


def test_messages_do_not_act_on_the_terminal():
    shown = str(RespfmError("\x1b]0;owned\x07 \u202egnp.\r \udcff\x9b is bad"))
    assert shown == "\\x1b]0;owned\\x07 \\u202egnp.\\r \\udcff\\x9b is bad"
    assert str(RespfmError("Schlüssel 肺 \N{ZERO WIDTH NON-JOINER}")) == "Schlüssel 肺 \N{ZERO WIDTH NON-JOINER}"


@pytest.mark.parametrize(
    "name", ["; touch PWNED", "$(id)", "`id`", "../up", "/abs", "a\nb", "a\n", "-rf", "a b", "{x}", ""]
)
@pytest.mark.parametrize("section", ["datasets", "tasks", "models", "mixtures", "runs"])
def test_names_in_a_configuration_are_plain(section, name):
    registry = read_yaml(
        REPOSITORY / "config" / f"{'pretraining' if section in ('mixtures', 'runs') else section}.yaml"
    )
    entry = next(iter(registry.get(section, registry).values()))
    config = read_yaml(REPOSITORY / "config" / "config.yaml") | {"add": {section: {name: entry}}}
    with pytest.raises(RespfmError, match="letters, digits, _ and - only"):
        load_settings(config, REPOSITORY)


@pytest.mark.parametrize("results", ["a\nb", "{dataset}", "a\x1b[31m", ""])
def test_the_results_folder_has_a_name_that_can_be_written(results):
    config = read_yaml(REPOSITORY / "config" / "config.yaml") | {"results": results}
    with pytest.raises(RespfmError, match="the configuration: results: "):
        load_settings(config, REPOSITORY)


@pytest.mark.parametrize(
    "file",
    [
        {"url": "https://user:secret@example.org/a.zip"},
        {"url": "file:///etc/passwd"},
        {"url": "https://example.org/a.zip", "path": "../../PWNED"},
        {"url": "https://example.org/a.zip", "path": "/tmp/PWNED"},
        {"url": "https://example.org/a.zip", "path": "a/.."},
        {"url": "https://example.org/a", "parts": ["../x"]},
    ],
    ids=lambda file: str(file.get("path", file.get("parts", file["url"]))),
)
def test_files_of_the_registry_stay_in_their_folder(file):
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    config["change"]["datasets"]["esc10"] = {"files": [file]}
    with pytest.raises(RespfmError, match=r"esc10\.files\.0\.(url|path|parts)"):
        load_settings(config, REPOSITORY)


# Reports and tables.


def test_metadata_in_the_report_is_text(tmp_path):
    """Hostile names in the audit, in a real browser: they are shown, and nothing of them runs or is loaded."""
    names = [EVIL, '"><img src=x onerror="document.title=\'broken\'">', "</td></table><iframe src=//x>", "{{ 7 * 7 }}"]
    pd.DataFrame({"recording": names}).to_csv(tmp_path / "duplicates.csv", index=False)
    page = tmp_path / "report.html"
    write_report(page, data_kind="full", config={"title": "Audit"}, tables=[], figures=[], models={}, selected=[],
                 audit={"duplicates": tmp_path / "duplicates.csv"}, benchmarks=tmp_path, repository=tmp_path,
                 captions=CAPTIONS, template=TEMPLATE)  # fmt: skip
    done = browse(page, tmp_path, "--virtual-time-budget=3000", "--dump-dom")
    audit = done.stdout.partition('<section id="audit">')[2].partition("</section>")[0]
    assert re.findall("<(script|img|iframe)", audit) == []
    cells = re.findall(r"<td[^>]*>(.*?)</td>", audit, re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == names
    assert "<title>Audit" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_names_in_a_vector_figure_are_text(tmp_path):
    axes = plt.figure().add_subplot()
    axes.set_title(EVIL)
    axes.figure.savefig(tmp_path / "figure.svg")
    plt.close(axes.figure)
    elements = {element.tag.rpartition("}")[2] for element in ElementTree.parse(tmp_path / "figure.svg").iter()}
    assert "g" in elements
    assert "script" not in elements


@pytest.mark.parametrize(
    "text", [r"\input{/etc/passwd}", r"\write18{touch PWNED}", "a\n\n\\end{table*}", "x & y \\\\ %"]
)
def test_latex_prints_metadata_as_it_is(text):
    escaped = escape_latex(text)
    assert "\n" not in escaped
    plain = re.sub(r"\\textbackslash\{\}|\{[*[]\}", "", escaped)
    for special in "&%$#_{}":
        plain = plain.replace(f"\\{special}", "")
    assert not set("\\&%$#{}") & set(plain)


def test_markdown_shows_metadata_as_it_is():
    assert escape_markdown("a|b\n| <img onerror=x> |") == r"a\|b \| \<img onerror=x\> \|"
