"""The report page: complete, escaped, self-contained, and alive in a real browser."""

import html
import json
import re
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from browser import EVIL, browse
from report_run import (
    CAPTIONS,
    MODELS,
    PAPER,
    SELECTED,
    STYLE,
    TEMPLATE,
    write_audit,
    write_history,
    write_scores,
    write_tasks,
)
from respfm.errors import RespfmError
from respfm.files import digest
from respfm.report import paper
from respfm.report.figures import curves
from respfm.report.provenance import git_commit, rule_costs
from respfm.report.report import caption, write_report
from respfm.report.shown import Shown
from respfm.report.tables import make_table

TASKS = ["T7", "T8"]
CONFIG = {"title": f"Report & {EVIL}", "seed": 0}


def write_benchmarks(root: Path) -> Path:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for place, seconds, memory in (
        ("probe_strict/m/T7", 2.5, "300.5"),
        ("probe_strict/m/T8", 4.0, "-"),
        ("retrieve", 1, "9"),
    ):
        path = root / "benchmarks" / f"{place}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{header}{seconds}\t0:00:02\t{memory}\t1\t1\t1\t0\t0\t90\t2\n")
    return root / "benchmarks"


def build(root: Path, data_kind: str = "synthetic", models=MODELS) -> Path:
    """A whole small run, published; the title of one model and a value of the configuration are hostile."""
    tables = []
    shown, task_tables = Shown(models, SELECTED, PAPER, data_kind), write_tasks(root, TASKS)
    audit = write_audit(root, TASKS)
    for stem, number, protocol in (
        ("table1", 1, "published"),
        ("table2", 2, "published"),
        ("table2_strict", 2, "strict"),
        ("table3", 3, "published"),
        ("table4", 4, "published"),
    ):
        make_table(
            number,
            protocol,
            shown,
            scores=write_scores(root, TASKS, protocol=protocol),
            task_tables=task_tables,
            stem=root / "tables" / stem,
            metadata_baselines=audit["metadata_baselines"],
        )
        tables.append(root / "tables" / f"{stem}.csv")
    drawn = {"histories": [write_history(root, "demo")], "runs": ["demo"], "data_kind": data_kind}
    curves.draw(**drawn, style=STYLE, stem=root / "figures" / "curves")
    write_report(
        root / "report.html",
        data_kind=data_kind,
        config=CONFIG,
        tables=tables,
        figures=[root / "figures" / "curves.svg"],
        audit=audit,
        models=models,
        selected=SELECTED,
        benchmarks=write_benchmarks(root),
        repository=root,
        captions=CAPTIONS,
        template=TEMPLATE,
    )
    return root / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    models = MODELS | {"m2d_tiny": MODELS["m2d_tiny"] | {"title": f"Tiny {EVIL}"}}
    return build(tmp_path_factory.mktemp("report"), models=models)


class Elements(HTMLParser):
    """All attributes by tag, and the text outside style and script."""

    def __init__(self, text: str):
        super().__init__()
        self.attributes, self.text, self.inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.text += data if self.inside not in ("style", "script") else ""


def test_nothing_is_loaded_from_anywhere(page):
    text = page.read_text()
    for tag, name, value in Elements(text).attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value[:60])
    assert "@import" not in text
    assert "url(" not in text


def test_links_within_the_page_lead_somewhere(page):
    attributes = Elements(page.read_text()).attributes
    names = [value for _, name, value in attributes if name == "id"]
    assert len(names) == len(set(names))
    assert {value[1:] for _, name, value in attributes if name == "href" and value.startswith("#")} <= set(names)


def test_what_comes_from_outside_is_escaped(page):
    text = page.read_text()
    assert "<script>document.title" not in text
    assert "&lt;script&gt;document.title" in text
    assert text.count("<script>") == 1
    assert '<td data-key="&lt;b&gt;">&lt;b&gt;</td>' in text


@pytest.mark.parametrize(("data_kind", "badge"), [("synthetic", "SYNTHETIC DATA"), ("sample", "SAMPLE OF REAL DATA")])
def test_what_the_data_are_is_said_at_every_table_and_figure(tmp_path, data_kind, badge):
    text = build(tmp_path, data_kind).read_text()
    assert f'<body class="{data_kind}">' in text
    assert f'<p class="banner" role="note"><strong>{badge}</strong>' in text
    assert text.count(f'<span class="badge">{badge}</span>') == 5 + 1 + 3


def test_numbers_of_the_tables_are_those_of_the_csv_files(page):
    table = pd.read_csv(page.parent / "tables" / "table2.csv")
    found = table[(table["label"] == "16. M2D") & (table["task"] == "T8")].iloc[0]
    text = page.read_text()
    assert f'<span class="reproduced">{found["reproduced"]:.3f} ±{found["reproduced_std"]:.3f}</span>' in text
    assert '<span class="paper">0.703 ±0.024*</span>' in text
    assert f'<span class="difference">{found["difference"]:+.3f}</span>' in text


@pytest.mark.parametrize("table", ["table2", "table2_strict", "table3", "table4"])
def test_the_page_shows_the_numbers_of_the_markdown_table(page, table):
    """To two decimals: the page is made from the csv file, whose six may round to another third one."""
    article = page.read_text().partition(f'<article id="{table}">')[2].partition("</article>")[0]
    shown = re.findall(r'<span class="[a-z ]+">([^<]*)</span>', article.partition("<table")[2])
    text = (page.parent / "tables" / f"{table}.md").read_text()
    rows = [line[2:-2].split(" | ") for line in text.splitlines()]
    lines = {"reproduced", "metadata", "interval", "details", "paper", "difference"}
    printed = [re.sub(r"[*]{2}|\\", "", text) for row in rows if {*row[1:2]} & lines for text in row[2:-1]]
    assert len(printed) > 100
    shown, printed = (Counter(re.sub(r"(\.\d\d)\d", r"\1", text) for text in texts) for texts in (shown, printed))
    assert shown - printed == Counter()
    assert (printed - shown).keys() <= {"-"}


def test_provenance_names_code_configuration_and_costs(page):
    words = Elements(page.read_text()).text
    assert "commit unknown" in words
    assert digest(CONFIG) in words
    assert "matplotlib\N{NO-BREAK SPACE}" in words
    assert paper.CITATION in words
    for topic in ("T10 split", "Networks left in training mode", "Test recordings in the pre-training data"):
        assert topic in words


def test_costs_add_up_jobs_and_keep_the_peak(tmp_path):
    costs = rule_costs(write_benchmarks(tmp_path)).set_index("rule")
    assert costs.loc["probe_strict"].tolist() == [2, 6.5, 4.0, 300.5]
    assert costs.loc["retrieve"].tolist() == [1, 1.0, 1.0, 9.0]
    assert rule_costs(tmp_path / "nothing").empty


def test_the_commit_says_whether_the_tree_is_clean(tmp_path):
    assert git_commit(tmp_path).startswith("unknown")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert re.fullmatch("[0-9a-f]{40}", git_commit(tmp_path))
    (tmp_path / "new").touch()
    assert git_commit(tmp_path).endswith(" + uncommitted changes")


def test_the_same_run_gives_the_same_page(tmp_path):
    assert build(tmp_path / "first").read_bytes() == build(tmp_path / "second").read_bytes()


def test_every_table_and_figure_has_a_caption():
    assert caption(CAPTIONS, "layers_m2d_tiny") == caption(CAPTIONS, "layers")
    assert caption(CAPTIONS, "table2_strict") != caption(CAPTIONS, "table2")
    with pytest.raises(RespfmError, match=r"no caption for unknown_thing; add unknown\.rst"):
        caption(CAPTIONS, "unknown_thing")


def test_figures_that_are_no_svg_are_refused(tmp_path):
    with pytest.raises(RespfmError, match=r"give it the \.svg file"):
        write_report(tmp_path / "report.html", data_kind="full", config={}, tables=[], figures=["curves.png"], audit={},
                     models={}, selected=[], benchmarks=tmp_path, repository=tmp_path, captions=CAPTIONS,
                     template=TEMPLATE)  # fmt: skip
    assert not (tmp_path / "report.html").exists()


PROBE_SCRIPT = """<script>
const table = document.querySelector("#table2 table");
const column = 3;
const keys = () => [...table.querySelectorAll("tbody tr:not(.section)")].map((row) => row.cells[column].dataset.key);
const head = table.tHead.rows[0].cells[column];
const answer = { title: document.title, width: innerWidth, scrollWidth: document.documentElement.scrollWidth,
                 images: [...document.images].every((image) => image.complete && image.naturalWidth > 0) };
answer.printed = keys();
for (const order of ["descending", "ascending", "restored"]) {
  head.querySelector("button").click();
  answer[order] = keys();
  answer[order + "State"] = head.getAttribute("aria-sort");
}
answer.sticky = getComputedStyle(document.querySelector(".banner")).position;
parent.postMessage(JSON.stringify(answer), "*");
</script></body>"""
FRAME = """<!doctype html><body>
<script>addEventListener("message", (event) => { document.body.dataset.answer = event.data; });</script>
<iframe src="questioned.html" width="WIDTH" height="800" style="border: 0"></iframe></body>"""


def questioned(page: Path, tmp_path: Path, width: int) -> tuple[dict, str]:
    """What the page answers to PROBE_SCRIPT in a window of that width, and what the browser's console said.

    A browser's own window is at least 500 pixels wide, so the page is shown in a frame.
    """
    (tmp_path / "questioned.html").write_text(page.read_text().replace("</body>", PROBE_SCRIPT))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    done = browse(frame, tmp_path, "--window-size=1400,900", "--virtual-time-budget=3000", "--dump-dom")
    found = re.search(r'data-answer="([^"]*)"', done.stdout)
    return json.loads(html.unescape(found[1])), done.stderr


def test_a_browser_shows_and_sorts_it_without_complaint(page, tmp_path):
    answer, console = questioned(page, tmp_path, 1280)
    assert "CONSOLE" not in console
    assert answer["images"]
    assert answer["title"].startswith("Report & <script>")
    filled = [float(key) for key in answer["printed"] if key]
    assert len(filled) >= 22
    assert [float(key) for key in answer["descending"] if key] == sorted(filled, reverse=True)
    assert [float(key) for key in answer["ascending"] if key] == sorted(filled)
    assert (answer["descendingState"], answer["ascendingState"]) == ("descending", "ascending")
    assert answer["restored"] == answer["printed"] != answer["ascending"]
    assert answer["restoredState"] is None


def test_it_fits_a_window_of_400_pixels(page, tmp_path):
    answer, _ = questioned(page, tmp_path, 400)
    assert answer["width"] == 400
    assert answer["scrollWidth"] <= 400
    assert answer["sticky"] == "sticky"


def test_it_makes_no_request(page, tmp_path):
    log = tmp_path / "net.json"
    browse(page, tmp_path, f"--log-net-log={log}", "--virtual-time-budget=3000", "--dump-dom")
    requests = re.findall(r'"url":"(https?://[^"]*)"', log.read_text())
    browsers_own = re.compile(r"https?://([\w.-]+\.)?(google|googleapis|gstatic|gvt1)\.com/")
    assert [url for url in requests if not browsers_own.match(url)] == []


def test_it_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 4 <= pages <= 20
