"""Data sets from mirrors, downloads and the network to a verified, unpacked tree with its record."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from archive_files import FILES, cut, make_7z, make_split_zip, make_tar, make_zip, read_tree
from loopback import Resource, running_server
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.retrieve.dataset import fetch_dataset, use_local
from respfm.retrieve.download import Patience
from respfm.retrieve.finder import Finder
from respfm.retrieve.mirror import local_copies, mirror_path
from respfm.retrieve.sources import raw_root, weights_path

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = load_settings(read_yaml(ROOT / "config" / "paper.yaml"), ROOT).datasets
QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.1, connect=2, stall=2)


def sources(target: Path) -> dict:
    return json.loads((target / ".sources.json").read_text())


def unpacked(target: Path) -> dict[str, bytes]:
    return {name: content for name, content in read_tree(target).items() if name != ".sources.json"}


def write_manifest(mirror: Path, extra: dict[str, tuple[str, int]] | None = None) -> None:
    rows = {
        str(path.relative_to(mirror)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in mirror.rglob("*")
        if path.is_file()
    }
    with open(mirror / "MANIFEST.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256", "bytes"])
        writer.writerows((path, *values) for path, values in (rows | (extra or {})).items())


@pytest.fixture
def mirror(tmp_path):
    """A rebuilt mirror of four made-up publishers."""
    root = tmp_path / "mirror"
    for host in ("zips.org", "tars.org", "sevens.org", "split.org"):
        (root / host / "files").mkdir(parents=True)
    make_zip(root / "zips.org" / "files" / "a b.zip", FILES)
    for maker, name in ((make_7z, "sevens.org/files/train.7z"), (make_tar, "tars.org/files/20200413.tar.gz")):
        path = root / name
        maker(path, FILES) if maker is make_7z else maker(path, FILES, "w:gz")
        size = -(-path.stat().st_size // 3)
        for part, suffix in zip(cut(path, size), ("aa", "ab", "ac"), strict=True):
            part.rename(path.with_name(f"{path.name}.{suffix}"))
        path.unlink()
    make_split_zip(root / "split.org" / "files", FILES, 40_000)
    (root / "zips.org" / "table.csv").write_text("a,b\n")
    write_manifest(root)
    return root


PARTS = ["aa", "ab", "ac"]
ENTRY = {
    "title": "four publishers",
    "files": [
        {"url": "https://zips.org/files/a%20b.zip", "path": "one/a.zip", "unpack": True, "sha256": "0" * 64},
        {"url": "https://sevens.org/files/train.7z", "path": "two/train.7z", "unpack": "7z", "parts": PARTS},
        {"url": "http://tars.org/files/20200413.tar.gz", "path": "three/x.tar.gz", "unpack": "tar.gz", "parts": PARTS},
        {
            "url": "https://split.org/files/a.zip",
            "path": "four/a.zip",
            "unpack": "zip-split",
            "parts": ["z01", "z02", "z03", "z04", "zip"],
        },
        {"url": "https://zips.org/table.csv", "path": "meta/table.csv"},
    ],
}


def fetch(tmp_path: Path, entry: dict, mirrors: list, **options) -> Path:
    target = tmp_path / "results" / "raw" / "set"
    finder = Finder(tmp_path / "results" / "downloads" / "set", mirrors, patience=QUICK, **options)
    fetch_dataset("set", entry, target, finder)
    return target


def test_rebuilt_mirror_in_place(tmp_path, mirror, caplog):
    """Every kind of archive, verified against the manifest rather than the publisher's digest, nothing copied."""
    caplog.set_level("INFO")
    target = fetch(tmp_path, ENTRY, [{"path": str(mirror), "checksums": "MANIFEST.csv"}], offline=True)
    expected = {f"{n}/{name}": content for n in ("one", "two", "three", "four") for name, content in FILES.items()}
    assert unpacked(target) == expected | {"meta/table.csv": b"a,b\n"}
    record = sources(target)
    assert record["dataset"] == "set"
    assert record["left_out"] == []
    assert raw_root(target / ".sources.json").samefile(target)
    assert len(record["files"]) == 1 + 3 + 3 + 5 + 1
    assert {file["verified_against"] for file in record["files"]} == {"mirror manifest"}
    assert {file["origin"] for file in record["files"]} == {f"mirror {mirror}"}
    assert set(record["files"][0]) == {
        "url",
        "path",
        "bytes",
        "sha256",
        "verified_against",
        "origin",
        "retrieved",
    }
    assert "set: 13 file(s) verified against: mirror manifest" in caplog.text
    assert not (tmp_path / "results" / "downloads").exists()
    assert sorted(path.name for path in target.parent.iterdir()) == ["set"]


def test_second_fetch_gives_the_same_record(tmp_path, mirror):
    mirrors = [{"path": str(mirror), "checksums": "MANIFEST.csv"}]
    target = fetch(tmp_path, ENTRY, mirrors, offline=True)
    before = (target / ".sources.json").read_bytes()
    (target / "stale.wav").write_bytes(b"of an older version")
    fetch(tmp_path, ENTRY, mirrors, offline=True)
    assert (target / ".sources.json").read_bytes() == before
    assert not (target / "stale.wav").exists()


def test_urlmap_and_layout(tmp_path, mirror):
    (mirror / "elsewhere").mkdir()
    (mirror / "zips.org" / "table.csv").rename(mirror / "elsewhere" / "t.csv")
    (mirror / "URLMAP.csv").write_text("url,path\nhttps://zips.org/table.csv,elsewhere/t.csv\n")
    entry = {"files": [{"url": "https://zips.org/table.csv"}]}
    target = fetch(tmp_path, entry, [{"path": str(mirror), "urlmap": "URLMAP.csv"}], offline=True)
    assert sources(target)["files"][0]["verified_against"] == "first use"
    assert local_copies(["https://zips.org/table.csv"], [{"path": str(mirror), "urlmap": "URLMAP.csv"}]) == [
        str(mirror / "elsewhere" / "t.csv")
    ]
    assert mirror_path("https://user@host.org:81/a%20b/c.zip?download=1") == "host.org:81/a b/c.zip"
    for wrong in ("ftp://host/x", "https://host/../x", "https://host/%2e%2e/x", "file:///etc/passwd"):
        with pytest.raises(RespfmError, match="is not an address of a file"):
            mirror_path(wrong)


def test_missing_mirror_file(tmp_path, mirror):
    (mirror / "zips.org" / "files" / "a b.zip").unlink()
    with pytest.raises(RespfmError, match=r"lists zips.org/files/a b.zip but the file is missing there"):
        fetch(tmp_path, ENTRY, [{"path": str(mirror), "checksums": "MANIFEST.csv"}], offline=True, allow_partial=True)
    assert not (tmp_path / "results").exists()
    with pytest.raises(RespfmError, match=r"`offline` is set: put the file at .*set/one/a.zip by hand"):
        fetch(tmp_path, ENTRY, [{"path": str(mirror)}], offline=True)


def test_wrong_checksum_of_a_mirror_file(tmp_path, mirror):
    (mirror / "zips.org" / "files" / "a b.zip").write_bytes(b"x" * 10)
    with pytest.raises(RespfmError, match=r"a b.zip has 10 bytes instead of \d+"):
        fetch(tmp_path, ENTRY, [{"path": str(mirror), "checksums": "MANIFEST.csv"}], offline=True)
    with pytest.raises(RespfmError, match=r"has the sha256 [0-9a-f]+ instead of 0000"):
        fetch(tmp_path, ENTRY, [{"path": str(mirror)}], offline=True)
    assert not (tmp_path / "results").exists()


def test_partial_mirror(tmp_path, mirror):
    """Without its last part a tar is unpacked as far as the rebuilt mirror says it goes; other files are left out."""
    rebuilt = tmp_path / "rebuilt"
    shutil.copytree(mirror / "tars.org", rebuilt / "tars.org")
    entry = {"files": [{**ENTRY["files"][2], "parts": [*PARTS, "ad"]}, ENTRY["files"][0]]}
    target = fetch(tmp_path, entry, [{"path": str(rebuilt)}], offline=True, allow_partial=True)
    assert unpacked(target) == {f"three/{name}": content for name, content in FILES.items()}
    assert sources(target)["left_out"] == [
        "http://tars.org/files/20200413.tar.gz.ad",
        "https://zips.org/files/a%20b.zip",
    ]
    (rebuilt / "tars.org" / "files" / "20200413.tar.gz.aa").unlink()
    with pytest.raises(RespfmError, match=r"x.tar.gz.aa is missing while later parts of the same archive are there"):
        fetch(tmp_path, entry, [{"path": str(rebuilt)}], offline=True, allow_partial=True)
    (rebuilt / "tars.org" / "files" / "20200413.tar.gz.ab").unlink()
    shutil.copy(mirror / "tars.org" / "files" / "20200413.tar.gz.aa", rebuilt / "tars.org" / "files")
    (rebuilt / "tars.org" / "files" / "20200413.tar.gz.ac").unlink()
    with pytest.raises(RespfmError, match=r"Only 1 of its 4 parts are here"):
        fetch(tmp_path, entry, [{"path": str(rebuilt)}], offline=True, allow_partial=True)
    with pytest.raises(RespfmError, match="Nothing of set is in the mirrors"):
        fetch(tmp_path, {"files": [ENTRY["files"][0]]}, [{"path": str(rebuilt)}], offline=True, allow_partial=True)


@pytest.mark.parametrize("row", ["x.zip,abc,5", f"x.zip,{'0' * 64},five", "x.zip"])
def test_garbled_manifest(tmp_path, mirror, row):
    (mirror / "MANIFEST.csv").write_text(f"\ufeffpath,sha256,bytes\r\n{row}\r\n", encoding="utf-8")
    with pytest.raises(RespfmError, match=r"gives x.zip a sha256 or bytes that is no such thing"):
        fetch(tmp_path, ENTRY, [{"path": str(mirror), "checksums": "MANIFEST.csv"}], offline=True)


def test_file_put_by_hand(tmp_path, mirror):
    downloads = tmp_path / "results" / "downloads" / "set" / "one"
    downloads.mkdir(parents=True)
    shutil.copy(mirror / "zips.org" / "files" / "a b.zip", downloads / "a.zip")
    entry = {"files": [{key: value for key, value in ENTRY["files"][0].items() if key != "sha256"}]}
    target = fetch(tmp_path, entry, [], offline=True)
    assert sources(target)["files"][0]["origin"] == "downloads"
    assert len(unpacked(target)) == len(FILES)


def test_corpus_collected_by_hand(tmp_path):
    corpus, target = tmp_path / "corpus", tmp_path / "raw" / "set"
    corpus.mkdir()
    entry = REGISTRY["audioset"]
    with pytest.raises(RespfmError, match=r"cannot be downloaded. .*`local: {set: <folder>}`"):
        fetch(tmp_path, entry, [])
    with pytest.raises(RespfmError, match="not a folder with files in it"):
        use_local("set", entry, target, corpus)
    (corpus / "clip.flac").write_bytes(b"")
    use_local("set", entry, target, corpus)
    assert raw_root(target / ".sources.json") == corpus
    assert [path.name for path in target.iterdir()] == [".sources.json"]
    known = {"files": [{"url": "https://host/clip.flac", "bytes": 5}]}
    with pytest.raises(RespfmError, match="has 0 bytes instead of 5"):
        use_local("set", known, target, corpus)


def test_network_after_mirrors_and_never_when_offline(tmp_path, mirror):
    content = (mirror / "zips.org" / "files" / "a b.zip").read_bytes()
    with running_server() as server:
        server.files["/a.zip"] = Resource(content, etag='"1"', script=[("truncate", 3000)])
        entry = {"files": [{"url": server.url("/a.zip"), "unpack": "zip", "md5": hashlib.md5(content).hexdigest()}]}
        with pytest.raises(RespfmError, match="`offline` is set"):
            fetch(tmp_path, entry, [{"path": str(mirror)}, {"path": server.url("/copy")}], offline=True)
        assert server.requests == []
        target = fetch(tmp_path, entry, [{"path": str(mirror)}, {"path": server.url("/copy")}])
        copy = f"/copy/{server.url('').removeprefix('http://')}/a.zip"
        assert [path for path, _ in server.requests] == [copy, "/a.zip", "/a.zip"]
        record = sources(target)["files"][0]
        assert (record["origin"], record["verified_against"]) == ("http", "publisher md5")
        fetch(tmp_path, entry, [])
        assert len(server.requests) == 3
        assert unpacked(target) == FILES


def test_mirror_behind_a_url(tmp_path, mirror):
    with running_server() as server:
        for path in mirror.rglob("*"):
            if path.is_file():
                server.files[f"/m/{path.relative_to(mirror)}".replace(" ", "%20")] = Resource(path.read_bytes())
        prefix = {"path": server.url("/m/"), "checksums": "MANIFEST.csv"}
        target = fetch(tmp_path, {"files": ENTRY["files"][:1]}, [prefix])
        assert sources(target)["files"][0]["verified_against"] == "mirror manifest"
        assert sources(target)["files"][0]["origin"] == f"mirror {server.url('/m/')}"
        server.files["/m/MANIFEST.csv"] = Resource(b"file,hash\n")
        with pytest.raises(RespfmError, match="must have the columns path, sha256"):
            fetch(tmp_path / "other", {"files": ENTRY["files"][:1]}, [prefix])
    with pytest.raises(RespfmError, match=r"MANIFEST.csv of the mirror http.* cannot be read"):
        fetch(tmp_path / "other", {"files": ENTRY["files"][:1]}, [prefix])


def test_first_use_is_remembered(tmp_path):
    make_zip(tmp_path / "a.zip", {"x": b"1"})
    make_zip(tmp_path / "b.zip", {"x": b"2"})
    with running_server() as server:
        server.files["/a.zip"] = Resource((tmp_path / "a.zip").read_bytes())
        entry = {"files": [{"url": server.url("/a.zip"), "unpack": "zip"}]}
        target = fetch(tmp_path, entry, [])
        assert sources(target)["files"][0]["verified_against"] == "first use"
        downloads = tmp_path / "results" / "downloads" / "set"
        sha256 = sources(target)["files"][0]["sha256"]
        assert (downloads / "SHA256SUMS").read_text() == f"{sha256}  a.zip\n"
        (downloads / "a.zip").unlink()
        server.files["/a.zip"] = Resource((tmp_path / "b.zip").read_bytes())
        with pytest.raises(RespfmError, match=rf"instead of {sha256} \(first use\)"):
            fetch(tmp_path, entry, [])


def test_damaged_download_without_checksum_is_not_kept(tmp_path):
    whole = make_zip(tmp_path / "a.zip", FILES).read_bytes()
    with running_server() as server:
        server.files["/a.zip"] = Resource(whole[:-200])
        entry = {"files": [{"url": server.url("/a.zip"), "unpack": "zip"}]}
        with pytest.raises(RespfmError, match="is not a whole zip archive"):
            fetch(tmp_path, entry, [])
        assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
        server.files["/a.zip"] = Resource(whole)
        assert unpacked(fetch(tmp_path, entry, [])) == FILES


def test_failure_keeps_the_older_tree(tmp_path, mirror):
    mirrors = [{"path": str(mirror), "checksums": "MANIFEST.csv"}]
    target = fetch(tmp_path, ENTRY, mirrors, offline=True)
    before = read_tree(target)
    make_zip(mirror / "zips.org" / "files" / "a b.zip", {"../outside": b""})
    write_manifest(mirror)
    with pytest.raises(RespfmError, match="lies outside"):
        fetch(tmp_path, ENTRY, mirrors, offline=True)
    assert read_tree(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["set"]


def test_rerun_after_a_kill(tmp_path):
    """Killed while it downloads and while it unpacks, a rerun ends as if nothing had happened."""
    files = {f"{number:05d}.bin": os.urandom(30_000) for number in range(300)}
    content = make_zip(tmp_path / "a.zip", files).read_bytes()
    with running_server() as server:
        url = server.url("/a.zip")
        program = textwrap.dedent(f"""
            from pathlib import Path
            from respfm.retrieve.dataset import fetch_dataset
            from respfm.retrieve.finder import Finder
            entry = {{"files": [{{"url": "{url}", "unpack": "zip", "bytes": {len(content)}}}]}}
            fetch_dataset("set", entry, Path("raw/set"), Finder(Path("downloads/set")))
        """)
        server.files["/a.zip"] = Resource(content, etag='"1"', script=[("stall", 3_000_000)])
        part = tmp_path / "downloads" / "set" / "a.zip.part"
        staging = tmp_path / "raw" / ".set.unpacking"
        for reached in (
            lambda: part.is_file() and part.stat().st_size > 2_000_000,
            lambda: staging.is_dir() and len(list(staging.iterdir())) > 5,
        ):
            process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
            deadline = time.monotonic() + 20
            while not reached() and time.monotonic() < deadline:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert not (tmp_path / "raw" / "set").exists()
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert server.requests[1][1].startswith("bytes=")
    assert unpacked(tmp_path / "raw" / "set") == files
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["set"]


def test_weights_of_a_checkpoint(tmp_path):
    folder = tmp_path / "mirror" / "github.com" / "a"
    folder.mkdir(parents=True)
    make_zip(folder / "m2d.zip", {"m2d_vit_base-80x608p16x16/checkpoint-300.pth": b"w", "README": b""})
    member = "m2d_vit_base-80x608p16x16/checkpoint-300.pth"
    entry = {"files": [{"url": "https://github.com/a/m2d.zip", "unpack": "zip", "member": member}]}
    target = fetch(tmp_path, entry, [{"path": str(tmp_path / "mirror")}], offline=True)
    assert weights_path(target / ".sources.json") == str(target / member)
    (target / member).write_bytes(b"v")
    with pytest.raises(RespfmError, match=r"checkpoint-300\.pth is no longer what was retrieved; delete"):
        weights_path(target / ".sources.json")
    entry["files"][0]["member"] = "checkpoint-300.pth"
    with pytest.raises(RespfmError, match=r"m2d.zip does not hold checkpoint-300.pth"):
        fetch(tmp_path, entry, [{"path": str(tmp_path / "mirror")}], offline=True)


def test_mirror_that_is_no_folder(tmp_path):
    with pytest.raises(RespfmError, match="is not a directory: correct `mirror`"):
        fetch(tmp_path, ENTRY, [{"path": str(tmp_path / "nowhere")}], offline=True)


REAL = {"icbhi": 115 * 2 + 3, "kauh": 160, "coswara": 53 + 2, "coughvid": 3, "esc10": 41, "librispeech": 1, "opera": 28}


@pytest.mark.parametrize(
    "dataset", [pytest.param(name, marks=pytest.mark.slow) if name == "icbhi" else name for name in REAL]
)
def test_real_sample(tmp_path, shared_data, dataset):
    """The registry's own addresses, found in the sample of real recordings."""
    mirrors = [
        {"path": str(shared_data / "mirror")},
        {"path": str(shared_data), "checksums": "MANIFEST.csv", "urlmap": "URLMAP.csv"},
    ]
    target = tmp_path / "raw" / dataset
    finder = Finder(tmp_path / "downloads" / dataset, mirrors, offline=True, allow_partial=True)
    fetch_dataset(dataset, REGISTRY[dataset], target, finder)
    assert sum(path.is_file() for path in target.rglob("*")) - 1 == REAL[dataset]
    against = {file["verified_against"] for file in sources(target)["files"]}
    assert against <= {"mirror manifest", "publisher sha256"}
