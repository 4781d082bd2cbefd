"""What could go wrong before it does, and what has: environment, device, disk, mirrors, damaged and stale results.

A check prints what it finds and yields one sentence with the fix for each fault.
"""

import base64
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from respfm.config.plan import Plan
from respfm.config.settings import Settings
from respfm.errors import RespfmError
from respfm.files import DRAFT
from respfm.jobs.checksums import PATTERN, damage, file_of

REPOSITORY = Path(__file__).resolve().parents[3]
SPARE_GB = 5
INSTALL = "pip install --no-deps --require-hashes -r envs/lock.txt"
DECODERS = ("av", "soundfile")
CODECS = ("aac", "flac", "mp3float", "opus", "vorbis", "wmav2")
SHOWN = 5


def _pins() -> dict[str, str]:
    """Packages that the library imports, with the versions of pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return dict(requirement.split("==") for requirement in project["dependencies"])


def _packages(plan: Plan) -> Iterator[str]:
    print(f"  Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, pinned in _pins().items():
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed; run {INSTALL}"
            continue
        if found != pinned:
            yield f"{name} {found} is installed, {pinned} was tested; run {INSTALL}"


def _decoders(plan: Plan) -> Iterator[str]:
    pins = _pins()
    fix = "run pip install --force-reinstall --no-deps " + " ".join(f"{name}=={pins[name]}" for name in DECODERS)
    try:
        import av
        import soundfile
    except (ImportError, OSError) as error:
        yield f"recordings cannot be decoded ({error}); {fix}"
        return
    print(f"  libsndfile {soundfile.__libsndfile_version__}, FFmpeg in PyAV {av.__version__}")
    if missing := [name for name in CODECS if name not in av.codecs_available]:
        yield f"FFmpeg in PyAV lacks {', '.join(missing)}; {fix}"


def _device(plan: Plan) -> Iterator[str]:
    import torch

    from respfm.device import choose_device

    try:
        print(f"  computes on {choose_device(plan.config['device'])}")
    except RespfmError as error:
        yield str(error)
    wanted, found = plan.config["resources"]["gpus"], torch.cuda.device_count()
    if wanted > found:
        yield (
            f"`resources.gpus` asks for {wanted}, this machine has {found} that PyTorch can use; lower it, or start "
            "from a machine (a cluster's node) that has them"
        )


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place.resolve()


def needed_gigabytes(plan: Plan) -> float:
    """What still has to be downloaded, unpacked and cached, in GB, as far as the registries know."""
    from respfm.cli.needs import READY, checkpoint_needs, dataset_needs

    if "demo_corpus" in plan.config:
        return 0.0
    total = 0.0
    for need in [*dataset_needs(plan), *checkpoint_needs(plan)]:
        cached = any(Path(plan.config["results"], "logmel", need.name).glob("*.h5"))
        parts = [need.missing, 0.0 if need.state == READY else need.disk, 0.0 if cached else need.logmel]
        total += sum(part or 0.0 for part in parts)
    return total


def _disk(plan: Plan) -> Iterator[str]:
    place = _existing(Path(plan.config["results"]))
    free, needed = shutil.disk_usage(place).free / 1e9, needed_gigabytes(plan)
    print(f"  {free:.0f} GB free at {place}; {needed:.0f} GB are still to come, and some for results")
    if free < needed + SPARE_GB:
        yield (
            f"only {free:.1f} GB are free at {place}, {needed + SPARE_GB:.0f} GB are needed; free some or move "
            "`results` in the configuration"
        )
    if os.statvfs(place).f_flag & os.ST_RDONLY or not os.access(place, os.W_OK):
        yield f"{place} cannot be written to; mount it writable or move `results` in the configuration"


def _mirrors(plan: Plan) -> Iterator[str]:
    from respfm.cli.needs import checkpoint_needs, dataset_needs

    for mirror in plan.config["mirror"]:
        if "://" not in mirror["path"] and not Path(mirror["path"]).is_dir():
            yield f"the mirror {mirror['path']} is not a folder; correct `mirror` in the configuration"
    for dataset, folder in plan.config["local"].items():
        if not Path(folder).is_dir():
            yield f"local.{dataset}: {folder} is not a folder; correct it in the configuration"
    if "demo_corpus" not in plan.config:
        for need in [*dataset_needs(plan), *checkpoint_needs(plan)]:
            if need.how and need.name not in plan.config["local"]:
                yield f"{need.name} is to be got by hand: {need.how}"
            elif "missing while" in need.state:
                yield f"{need.name}: {need.state}; name a mirror that has them, or go online"


def _store(plan: Plan) -> Iterator[str]:
    """Every result against its checksum, every checkpoint against the digest in its name."""
    from respfm.jobs.checkpoints import FINISHED, NAME, is_whole

    results = Path(plan.config["results"])
    checked = [path for checksum in sorted(results.rglob(PATTERN)) if (path := file_of(checksum)).is_file()]
    with ThreadPoolExecutor() as pool:
        yield from filter(None, pool.map(damage, checked))
    places = ("pretraining/*/checkpoints/*/*.pt", "embeddings/*/*/checkpoints/*/*/*.pt")
    checkpoints = [path for place in places for path in sorted(results.glob(place)) if NAME.fullmatch(path.name)]
    for path in checkpoints:
        if not is_whole(path):
            yield f"{path} is damaged; delete it, and the run continues from the checkpoint before"
        elif not path.parent.name.startswith(FINISHED):
            made = str(path.parents[1].relative_to(results)).replace("/checkpoints", "")
            print(f"  {made} was interrupted; the next run continues after step {int(path.name[4:13])}")
    print(f"  {len(checked) + len(checkpoints)} files read")


def _killed(plan: Plan) -> Iterator[str]:
    """What killed runs leave behind."""
    results = Path(plan.config["results"])
    for path in sorted({*results.rglob(f".*{DRAFT}*"), *results.glob("raw/.*.unpacking")}):
        yield f"{path} is left over from a killed job; delete it when no job is running"
    if any(Path(".snakemake/locks").glob("*")):
        yield "a run of Snakemake is under way here, or was killed; if none is, run snakemake --unlock"
    unfinished = [path.name for path in Path(".snakemake/incomplete").glob("*") if path.is_file()]
    names = sorted(base64.b64decode(name, altchars=b"-_").decode(errors="replace") for name in unfinished)
    if names:
        yield f"{_some(names)} were being written when a run was killed; run snakemake, which makes them again"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _stale(configfiles: Sequence[str]) -> Iterator[str]:
    """Results that are older than their configuration, code or data; Snakemake knows."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--summary"]
    done = subprocess.run([*command, "--configfile", *configfiles], capture_output=True, text=True)
    if done.returncode:
        yield f"Snakemake cannot plan this run: {done.stderr.strip().splitlines()[-1]}"
        return
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    header = next(row for row in rows if row[0] == "output_file")
    files = [dict(zip(header, row, strict=True)) for row in rows[rows.index(header) + 1 :]]
    stale = [file for file in files if file["plan"] != "no update" and file["status"] != "missing"]
    missing = [file for file in files if file["status"] == "missing"]
    print(f"  {len(files) - len(stale) - len(missing)} results up to date, {len(missing)} not made yet")
    for reason in sorted({file["status"] for file in stale}):
        names = [file["output_file"] for file in stale if file["status"] == reason]
        yield f"{len(names)} results are out of date ({reason}): {_some(names)}; run snakemake to make them again"


CHECKS = {
    "packages": _packages,
    "decoders": _decoders,
    "device": _device,
    "disk": _disk,
    "mirrors and local data": _mirrors,
    "integrity": _store,
    "killed runs": _killed,
}


def examine(settings: Settings, configfiles: Sequence[str]) -> bool:
    """Print what each check finds; True if all is well."""
    plan, well = Plan(settings), True
    checks = {**CHECKS, "stale results": lambda _: _stale(configfiles)}
    for title, check in checks.items():
        print(title, flush=True)
        for complaint in check(plan):
            well = False
            print(f"  ! {complaint}", flush=True)
    print("all is well" if well else "see the lines marked with !")
    return well
