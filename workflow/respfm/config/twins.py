"""What follows from the entries of config/pretraining.yaml: mixtures of mixtures, and the strict twins.

Under the strict protocol no recording or patient of a test set is pre-trained on. A mixture that draws from the data
set of a task therefore has a twin, `<name>_strict`, which leaves them out, and so has a run whose mixture, background,
ancestor or teacher has one. All other mixtures and runs serve both protocols.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from respfm.errors import RespfmError, suggest

SUFFIX = "_strict"
ORIGINS = ("init_from", "teacher")
LEFT_OUT = "without test recordings and patients"


def unfold_mixtures(mixtures: Mapping[str, dict], source: str) -> dict[str, dict]:
    """Mixtures whose parts are data sets: a mixture among them stands for its own parts, so many times.

    Raises:
        RespfmError: a part does not exist, contains itself, or leaves out test recordings although the whole does not.
    """

    def parts_of(name: str, outer: tuple[str, ...] = ()) -> Iterable[dict]:
        for part in mixtures[name]["parts"]:
            inner = part.get("mixture")
            if inner is None:
                yield part
                continue
            where = f"{source}: mixture {name}: the part {inner!r}"
            if inner not in mixtures:
                raise RespfmError(f"{where} does not exist; {suggest(inner, mixtures)}")
            if inner in (*outer, name):
                raise RespfmError(f"{where} contains {name!r} itself; remove one of the two")
            if "exclude" in mixtures[inner] and "exclude" not in mixtures[name]:
                raise RespfmError(f"{where} leaves out test recordings; write `exclude: test` for {name!r} too")
            yield from (
                {**each, "repeats": each["repeats"] * part["repeats"]} for each in parts_of(inner, (*outer, name))
            )

    return {name: {**mixture, "parts": list(parts_of(name))} for name, mixture in mixtures.items()}


def twin_mixtures(mixtures: Mapping[str, dict], task_datasets: set[str]) -> dict[str, dict]:
    """Strict twins of unfolded mixtures, by the names of the mixtures."""
    twins = {}
    for name, mixture in mixtures.items():
        if "exclude" not in mixture and task_datasets & {part["dataset"] for part in mixture["parts"]}:
            title = {"title": f"{mixture['title']} {LEFT_OUT}"} if "title" in mixture else {}
            twins[name] = {**mixture, **title, "exclude": "test"}
    return twins


def twin_runs(runs: Mapping[str, dict], twinned: Iterable[str]) -> dict[str, dict]:
    """Strict twins of runs, by the names of the runs; `twinned` are the mixtures that have a twin.

    A twin has no quirks, and otherwise what the run has, with what the run says under `strict` laid over it.
    """
    twinned = set(twinned)

    def origins(run: Mapping) -> Iterable[str]:
        return filter(None, (run.get(key, {}).get("run") for key in ORIGINS))

    def has_twin(name: str, younger: tuple[str, ...] = ()) -> bool:
        run = runs.get(name, {})
        own = "strict" in run or not twinned.isdisjoint({run.get("mixture"), run.get("background")})
        return own or any(has_twin(origin, (*younger, name)) for origin in origins(run) if origin not in younger)

    def twin_of(name: str) -> dict[str, Any]:
        run = {key: value for key, value in runs[name].items() if key not in ("strict", "quirks", "note")}
        other = runs[name].get("strict", {})
        twin = {**run, "title": f"{run['title']}, strict", **other, "model": {**run["model"], **other.get("model", {})}}
        for key in ("mixture", "background"):
            if twin.get(key) in twinned:
                twin[key] += SUFFIX
        for key in ORIGINS:
            if has_twin(parent := twin.get(key, {}).get("run", "")):
                twin[key] = {"run": parent + SUFFIX}
        return twin

    return {name: twin_of(name) for name in runs if has_twin(name)}


def with_twins(entries: Mapping[str, dict], twins: Mapping[str, dict], where: str) -> dict[str, dict]:
    """Entries with the twin of each behind it; RespfmError if an entry has the name of a twin."""
    every: dict[str, dict] = {}
    for name, entry in entries.items():
        every[name] = {key: value for key, value in entry.items() if key != "strict"}
        if name not in twins:
            continue
        if name + SUFFIX in entries:
            raise RespfmError(
                f"{where}: {name + SUFFIX!r} is the name of the strict twin of {name!r}, which follows from it; remove "
                "or rename the entry"
            )
        every[name + SUFFIX] = twins[name]
    return every
