"""What could go wrong before it does: environment, device, disk, mirrors, shards and stale results."""

import importlib.metadata
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from respfm.config import Settings
from respfm.errors import RespfmError
from respfm.plan import Plan

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
NEEDED_FREE_GB = 5


def _versions() -> Iterator[str]:
    for requirement in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]:
        name, _, pinned = requirement.partition("==")
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed; run make demo, or pip install -e ."
            continue
        if found != pinned:
            yield f"{name} {found} is installed, {pinned} was tested; run pip install -e ."


def _device(plan: Plan) -> Iterator[str]:
    from respfm.device import choose_device

    try:
        print(f"  computes on {choose_device(plan.config['device'])}")
    except RespfmError as error:
        yield str(error)


def _disk(plan: Plan) -> Iterator[str]:
    place = Path(plan.config["results"])
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    print(f"  {free:.0f} GB free at {place.resolve()}")
    if free < NEEDED_FREE_GB:
        yield f"only {free:.1f} GB are free at {place.resolve()}; free some or move `results` in the configuration"


def _mirrors(plan: Plan) -> Iterator[str]:
    for mirror in plan.config["mirror"]:
        if "://" not in mirror["path"] and not Path(mirror["path"]).is_dir():
            yield f"the mirror {mirror['path']} is not a folder; correct `mirror` in the configuration"
    for dataset, folder in plan.config["local"].items():
        if not Path(folder).is_dir():
            yield f"local.{dataset}: {folder} is not a folder; correct it in the configuration"


def _shards(plan: Plan) -> Iterator[str]:
    from respfm.store import check_shard

    for path in sorted(Path(plan.config["results"]).glob("logmel/*/*.h5")):
        try:
            check_shard(path)
        except RespfmError as error:
            yield str(error)


def _half_written(plan: Plan) -> Iterator[str]:
    for path in sorted(Path(plan.config["results"]).rglob(".*.tmp*")):
        yield f"{path} is left over from a killed job; delete it when no job is running"


CHECKS = {
    "packages": lambda plan: _versions(),
    "device": _device,
    "disk": _disk,
    "mirrors and local data": _mirrors,
    "log-mel shards": _shards,
    "left-overs": _half_written,
}


def examine(settings: Settings) -> bool:
    """Print what each check finds; True if all is well."""
    plan, well = Plan(settings), True
    for title, check in CHECKS.items():
        print(title)
        for complaint in check(plan):
            well = False
            print(f"  ! {complaint}")
    print("all is well" if well else "see the lines marked with !")
    return well
