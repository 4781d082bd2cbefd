"""What comes from outside never runs code, leaves its folder, or breaks a rule."""

import csv
import html
import io
import os
import pickle
import re
import shutil
import ssl
import stat
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import py7zr
import pytest
import soundfile
import torch
import yaml
from archive_files import make, make_split_zip
from browser import EVIL, browse
from loopback import Resource, running_server
from report_run import CAPTIONS, TEMPLATE
from respfm import audio
from respfm.cli.main import main
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.curate import respiratory_tr
from respfm.curate.arrays import load_arrays
from respfm.encoders import load_encoder
from respfm.encoders.registry import read_registry
from respfm.errors import RespfmError
from respfm.report.latex import escape_latex
from respfm.report.markdown import escape_markdown
from respfm.report.report import write_report
from respfm.retrieve.archives import unpack
from respfm.retrieve.checksums import Expected
from respfm.retrieve.download import Patience, download, read_text
from respfm.retrieve.mirror import Mirror
from respfm.weights import read_weights
from workspace import REPOSITORY, SNAKEMAKE, Workspace

QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.1, connect=2, stall=0.5)


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """A file in the working directory that only attacks make."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "here" / "PWNED"
    yield path
    assert not path.exists()


# Archives.


def make_hostile(kind: str, path: Path, members: list[tuple[str, bytes, int]]) -> list[Path]:
    """An archive of (name, content, mode); links carry their target as content."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content, mode in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                archive.writestr(info, content)
        return [path]
    if kind == "zip-split":
        volumes = make_split_zip(path.parent, {name: content for name, content, _ in members}, 100_000)
        last = bytearray(volumes[-1].read_bytes())
        for _, _, mode in members:
            at = last.index(b"PK\x01\x02")
            struct.pack_into("<I", last, at + 38, mode << 16)
            last[at : at + 4] = b"done"
        volumes[-1].write_bytes(last.replace(b"done", b"PK\x01\x02"))
        return volumes
    types = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
    with tarfile.open(path, "w:" + kind.removeprefix("tar").removeprefix(".")) as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.type = types.get(stat.S_IFMT(mode), tarfile.REGTYPE)
            if info.type == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return [path]


OUTSIDE, LINK, TWICE = "lies outside the folder", "a link or device", "b twice"
ATTACKS = {
    "absolute path": (OUTSIDE, [("/tmp/respfm-PWNED", b"x", stat.S_IFREG | 0o644)]),
    "parent folder": (OUTSIDE, [("good/../../PWNED", b"x", stat.S_IFREG | 0o644)]),
    "symbolic link": (LINK, [("PWNED", b"/etc/passwd", stat.S_IFLNK | 0o777)]),
    "file through a link": (LINK, [("d", b"..", stat.S_IFLNK | 0o777), ("d/PWNED", b"x", stat.S_IFREG | 0o644)]),
    "device": (LINK, [("PWNED", b"", stat.S_IFCHR | 0o666)]),
    "pipe": (LINK, [("PWNED", b"", stat.S_IFIFO | 0o666)]),
    "one name twice": (TWICE, [("a/b", b"x", stat.S_IFREG | 0o644), ("a//b", b"y", stat.S_IFREG | 0o644)]),
}


@pytest.mark.parametrize("kind", ["zip", "zip-split", "tar", "tar.gz"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_members_are_refused(tmp_path, marker, kind, attack):
    reason, members = ATTACKS[attack]
    pieces = make_hostile(kind, tmp_path / "here" / "archive.zip", members)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(RespfmError, match=reason):
        unpack(pieces, kind, tmp_path / "out")
    made = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "out") and not path.is_symlink() for path in made)
    assert not Path("/tmp/respfm-PWNED").exists()


def test_hostile_members_of_a_7z_are_refused(tmp_path, marker):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to("/etc/passwd")
    (tmp_path / "source" / "file").write_bytes(b"x")
    attacks = {
        "link": lambda archive: archive.writeall(tmp_path / "source", "source"),
        "twice": lambda archive: [archive.writestr(b"x", name) for name in ("a/b", "a//b")],
        "absolute": lambda archive: archive.writestr(b"x", "placeholder"),
        "parent": lambda archive: archive.writestr(b"x", "placeholder"),
    }
    for name, fill in attacks.items():
        with py7zr.SevenZipFile(tmp_path / f"{name}.7z", "w") as archive:
            fill(archive)
            for file, written in zip(archive.files, archive.header.files_info.files, strict=True):
                # The library refuses to write such names; an attacker's does not.
                wanted = {"absolute": "/tmp/respfm-PWNED", "parent": "a/../../here/PWNED"}.get(name)
                if wanted:
                    file._file_info["filename"] = written["filename"] = wanted
        with pytest.raises(RespfmError, match=OUTSIDE if name in ("absolute", "parent") else f"{LINK}|{TWICE}"):
            unpack([tmp_path / f"{name}.7z"], "7z", tmp_path / "out" / name)
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    assert not Path("/tmp/respfm-PWNED").exists()


def test_a_hard_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("file", tarfile.REGTYPE), ("again", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "file"
            archive.addfile(info)
    with pytest.raises(RespfmError, match="'again', a link or device"):
        unpack([tmp_path / "a.tar"], "tar", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2", "7z"])
def test_a_bomb_is_not_unpacked(tmp_path, kind):
    archive = make(kind, tmp_path / "bomb", {f"zeros{n}": bytes(24 << 20) for n in range(3)})
    with pytest.raises(RespfmError, match="would unpack to more than"):
        unpack([archive], kind, tmp_path / "out")


def test_a_member_gives_no_more_than_the_archive_states(tmp_path):
    make("zip", tmp_path / "a.zip", {"zeros": bytes(1 << 20)})
    content = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", content, 22, 10)
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RespfmError):
        unpack([tmp_path / "a.zip"], "zip", tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 10


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("header")
        info.type, info.size = kind, 100 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(RespfmError, match="a header of 104857600 bytes"):
        unpack([tmp_path / "a.tar.gz"], "tar.gz", tmp_path / "out")


def test_a_workbook_that_would_fill_the_memory_is_not_read(tmp_path):
    make("zip", tmp_path / "Labels.xlsx", {"xl/sharedStrings.xml": bytes(65 << 20)})
    with pytest.raises(RespfmError, match=r"Labels\.xlsx is not a readable Excel workbook \(it would unpack to more"):
        respiratory_tr.list_recordings(tmp_path, {})


# Pickles.


class Attack:
    """What runs when the pickle is read."""

    def __reduce__(self):
        return os.system, ("touch PWNED",)


def hostile_files(folder: Path) -> dict[str, Path]:
    """A pickle that runs a command, in every container that weights come in."""
    paths = {name: folder / name for name in ("zip.pth", "legacy.pt", "pytorch_model.bin", "model.joblib", "script.pt")}
    content = {"model": {"weight": torch.zeros(2)}, "args": Attack()}
    torch.save(content, paths["zip.pth"])
    torch.save(content, paths["legacy.pt"], _use_new_zipfile_serialization=False)
    paths["pytorch_model.bin"].write_bytes(pickle.dumps(content))
    joblib.dump(content, paths["model.joblib"])
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), paths["script.pt"])
    return paths


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*TorchScript", "ignore:Detected pickle protocol")
def test_no_checkpoint_runs_code(tmp_path, marker):
    for name, path in hostile_files(tmp_path).items():
        with pytest.raises(RespfmError) as error:
            read_weights(path)
        assert str(path) in str(error.value)
        refusal = "could run code; set `trust: true`" if name in ("zip.pth", "legacy.pt") else "damaged"
        assert refusal in str(error.value)


@pytest.mark.parametrize("name", [n for n, entry in read_registry().items() if entry["weights"] == "published"])
def test_no_model_of_the_zoo_runs_code_of_its_checkpoint(tmp_path, marker, name):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"model": {"weight": torch.zeros(2)}, "args": Attack()}, path)
    with pytest.raises(RespfmError, match="could run code; set `trust: true`"):
        load_encoder(name, path)


def test_no_array_runs_code(tmp_path, marker):
    np.save(tmp_path / "labels.npy", np.array([Attack()], dtype=object), allow_pickle=True)
    with pytest.raises(RespfmError, match="is not a NumPy array file"):
        load_arrays(tmp_path, {"label": "labels.npy"})


# YAML.

TAGS = [
    "!!python/object/apply:os.system ['touch PWNED']",
    "!!python/object/new:os.system ['touch PWNED']",
    "!!python/name:os.system",
    "!!python/module:os",
]


@pytest.mark.parametrize("tag", TAGS)
def test_no_yaml_makes_objects(tmp_path, marker, tag):
    (tmp_path / "evil.yaml").write_text(f"seed: {tag}\n")
    with pytest.raises(RespfmError, match=r"evil\.yaml is not valid YAML: could not determine a constructor"):
        read_yaml(tmp_path / "evil.yaml")


@pytest.mark.workflow
def test_no_configuration_makes_objects(tmp_path, marker, capsys):
    (tmp_path / "evil.yaml").write_text(f"seed: {TAGS[0]}\n")
    command = [*SNAKEMAKE, "-n", "-s", REPOSITORY / "Snakefile", "--configfile", REPOSITORY / "config" / "config.yaml"]
    done = subprocess.run([*command, tmp_path / "evil.yaml"], capture_output=True, text=True)
    assert done.returncode
    assert "Config file is not valid JSON or YAML" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert main(["plan", "--configfile", str(tmp_path / "evil.yaml")]) == 1
    assert "evil.yaml is not valid YAML" in capsys.readouterr().err


# Redirects.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine: apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path.with_suffix(".key"), "-out", path]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def https(certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running_server(context) as server:
        yield server


@pytest.fixture
def server():
    with running_server() as running:
        yield running


def redirect(target: str, times: int = 1) -> Resource:
    return Resource(b"", headers={"Location": target}, script=[302] * times)


def fetch(url: str, folder: Path, expected: Expected = Expected()) -> bytes:  # noqa: B008
    download([url], folder / "file", expected, patience=QUICK)
    return (folder / "file").read_bytes()


def test_a_redirect_from_https_to_http_is_not_followed(https, server, tmp_path):
    server.files["/file"] = Resource(b"forged", headers={"Location": https.url("/back")})
    https.files |= {"/file": redirect(server.url("/file")), "/good": redirect(https.url("/real"))}
    https.files |= {"/real": Resource(b"real"), "/list": redirect(server.url("/file"))}
    assert fetch(https.url("/good"), tmp_path / "good") == b"real"
    with pytest.raises(RespfmError, match="redirects from https to http://"):
        fetch(https.url("/file"), tmp_path / "bad")
    with pytest.raises(OSError, match="redirects from https to http://"):
        read_text(https.url("/list"), QUICK)
    assert server.requests == []
    assert not list((tmp_path / "bad").iterdir())


def test_redirects_to_files_and_in_circles_end_in_one_sentence(server, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    server.files["/file"] = redirect((tmp_path / "secret").as_uri())
    with pytest.raises(RespfmError, match="No connection adapters"):
        fetch(server.url("/file"), tmp_path / "out")
    server.files["/loop"] = redirect(server.url("/loop"), 100)
    with pytest.raises(RespfmError, match="Exceeded 30 redirects"):
        fetch(server.url("/loop"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_password_is_not_sent_to_another_host(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with running_server() as other:
        other.files["/file"] = Resource(b"there")
        server.files["/file"] = redirect(other.url("/file").replace("127.0.0.1", "localhost"))
        assert fetch(server.url("/file"), tmp_path / "out") == b"there"
        assert "Authorization" in server.headers[0]
        assert "Authorization" not in other.headers[0]


def test_a_password_in_an_address_is_refused_without_showing_it():
    with pytest.raises(RespfmError, match=r"~/\.netrc") as error:
        Mirror({"path": "https://user:secret@example.org/mirror"})
    assert "secret" not in str(error.value)


def test_a_server_that_never_ends_does_not_fill_the_disk(server, tmp_path):
    server.files["/file"] = Resource(bytes(10 << 20), length=False)
    with pytest.raises(RespfmError, match="more than the file's 1000 bytes"):
        fetch(server.url("/file"), tmp_path / "out", Expected(bytes=1000))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("suffix", [".webm", ".mp3", ".m4a"])
def test_a_playlist_in_the_place_of_a_recording_opens_nothing(server, tmp_path, suffix):
    soundfile.write(tmp_path / "secret.mp3", np.sin(np.arange(16000) * 0.1), 16000)
    server.files["/a.mp3"] = Resource((tmp_path / "secret.mp3").read_bytes())
    (tmp_path / "data").mkdir()
    for target in (server.url("/a.mp3"), (tmp_path / "secret.mp3").as_uri(), str(tmp_path / "secret.mp3")):
        for text in (f"#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile '{target}'\n"):
            path = tmp_path / "data" / f"recording{suffix}"
            path.write_text(text)
            assert audio.inspect(path).quarantine.startswith("unreadable")
    assert server.requests == []


# Names.

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
