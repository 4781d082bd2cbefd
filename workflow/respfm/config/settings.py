"""Configuration and registries: read, validated against closed schemas, defaults filled in, cross-checked.

Every complaint is one sentence that names the file and the key, what is wrong, and the nearest valid choice.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respfm.config.manifest import read_manifest
from respfm.config.reading import merge, read_yaml
from respfm.config.schema import validate
from respfm.config.twins import ORIGINS, SUFFIX, twin_mixtures, twin_runs, unfold_mixtures, with_twins
from respfm.errors import RespfmError, suggest
from respfm.m2d.config import M2DConfig

REGISTRIES = ("datasets", "tasks", "models", "pretraining")
SECTIONS = {
    "datasets": ("datasets", "data set"),
    "tasks": ("tasks", "task"),
    "models": ("models", "model"),
    "mixtures": ("pretraining", "mixture"),
    "runs": ("pretraining", "pre-training run"),
}
"""Registry of each section of `add` and `change`, and what its entries are called."""


@dataclass(frozen=True)
class Settings:
    """A validated configuration (`config`) and the registries that its names refer to."""

    config: dict[str, Any]
    datasets: dict[str, dict]
    tasks: dict[str, dict]
    models: dict[str, dict]
    mixtures: dict[str, dict]
    runs: dict[str, dict]


def _registry(name: str, source: str) -> str:
    return f"config/{name}.yaml (with {source} applied)"


def _require(name: str, known: Iterable[str], what: str) -> None:
    known = list(known)
    if name not in known:
        raise RespfmError(f"{what} {name!r} does not exist; {suggest(name, known)}")


def load_settings(config: Mapping, root: Path, source: str = "the configuration") -> Settings:
    """Validate `config` and the registries under `root`/config, apply the config's changes, and cross-check names."""
    folder = root / "config"
    schemas = folder / "schemas"
    resolved = validate(dict(config), schemas / "config.schema.yaml", source)
    registry = {name: read_yaml(folder / f"{name}.yaml") or {} for name in REGISTRIES}
    _add_and_change(resolved, registry, source)
    for name in REGISTRIES:
        registry[name] = validate(registry[name], schemas / f"{name}.schema.yaml", _registry(name, source))
    for dataset in registry["datasets"].values():
        if isinstance(listed := dataset["files"], dict):
            dataset["files"] = read_manifest(folder / listed["manifest"], listed["base"])
    where = _registry("pretraining", source)
    mixtures = unfold_mixtures(registry["pretraining"]["mixtures"], where)
    for mixture in mixtures.values():
        mixture["parts"] = [_thresholded(part, resolved["curation"]) for part in mixture["parts"]]
    strict_mixtures = twin_mixtures(mixtures, {task["dataset"] for task in registry["tasks"].values()})
    runs = {name: {"model": {}, **run} for name, run in registry["pretraining"]["runs"].items()}
    strict_runs = twin_runs(runs, strict_mixtures)
    for model in registry["models"].values():
        if isinstance(run := model.get("run"), str) and run in strict_runs:
            model["run"] = {"published": run, "strict": run + SUFFIX}
    settings = Settings(
        config=resolved,
        datasets=registry["datasets"],
        tasks=registry["tasks"],
        models=registry["models"],
        mixtures=with_twins(mixtures, strict_mixtures, f"{where}: mixtures"),
        runs=with_twins(runs, strict_runs, f"{where}: runs"),
    )
    for name, run in settings.runs.items():
        _check_network(run["model"], f"{where}: runs.{name}.model")
    _cross_check(settings, source)
    return settings


def _add_and_change(config: Mapping[str, Any], registry: dict[str, dict], source: str) -> None:
    """Put the entries of the user's own beside those of the registries, then lay changes over them."""
    for section, (name, kind) in SECTIONS.items():
        known = registry[name] if name == section else registry[name][section]
        for taken in known.keys() & config["add"][section].keys():
            raise RespfmError(
                f"{source}: add.{section}: config/{name}.yaml has {taken!r} already; choose another name, or put it "
                f"under change.{section}"
            )
        known.update(deepcopy(config["add"][section]))
        for entry, change in config["change"][section].items():
            _require(entry, known, f"{source}: change.{section}: {kind}")
            known[entry] = merge(known[entry], change)


def _check_network(model: Mapping[str, Any], where: str) -> None:
    """The sizes of a run's network fit each other."""
    try:
        M2DConfig.from_dict(model)
    except RespfmError as error:
        raise RespfmError(f"{where}: {error}") from error


def _thresholded(part: Mapping[str, Any], curation: Mapping[str, Any]) -> dict[str, Any]:
    """A part with the configuration's threshold, and the count that this leaves, if it takes coughs above one."""
    if "min_cough_detected" not in part["where"]:
        return dict(part)
    changed = {key: value for key, value in part.items() if key != "expected"}
    if "expected" in part and part["where"]["min_cough_detected"] == curation["min_cough_detected"]:
        expected = part["expected"]
        changed["expected"] = (
            expected["from" if curation["inclusive"] else "above"] if isinstance(expected, dict) else expected
        )
    return {**changed, "where": {**part["where"], **curation}}


def _cross_check(settings: Settings, source: str) -> None:
    config, figures = settings.config, settings.config["figures"]
    for key in ("results", "downloads"):
        for place in [Path(config[key]), *Path(config[key]).parents]:
            if place.exists() and not place.is_dir():
                raise RespfmError(f"{source}: {key} is {config[key]!r}, but {place} is a file; name a folder")
    for name, known, what in _references(settings, source):
        _require(name, known, what)
    for name in filter(None, [*figures["layers"], figures["embedding_map"]]):
        if name not in config["models"]:
            raise RespfmError(f"{source}: figures names the model {name!r}, which is not under models; add it there")
    for name, model in settings.models.items():
        if "file" in model and not Path(model["file"]).is_file():
            raise RespfmError(f"{source}: {name}: file is {model['file']!r}, where no checkpoint is; correct the path")
    where = _registry("pretraining", source)
    for name, run in settings.runs.items():
        for key in ORIGINS:
            model = run.get(key, {}).get("model")
            if model and not {"file", "checkpoint"} & set(settings.models[model]):
                raise RespfmError(
                    f"{where}: {name}: {key}: {model} has neither `file` nor `checkpoint`; if a run makes its weights, "
                    f"write `{key}: {{run: <that run>}}`"
                )
        _check_ancestry(name, settings.runs, where)


def _references(settings: Settings, source: str) -> Iterator[tuple[str, Mapping[str, dict], str]]:
    """Every name of an entry that a configuration or an entry has: the name, the entries, and what to call it."""
    config = settings.config
    yield from ((name, settings.tasks, f"{source}: tasks: task") for name in config["tasks"])
    for name in [*config["models"], *config["figures"]["layers"]]:
        yield name, settings.models, f"{source}: model"
    yield from ((name, settings.runs, f"{source}: runs: pre-training run") for name in config["runs"])
    yield from ((name, settings.datasets, f"{source}: local: data set") for name in config["local"])
    for name, task in settings.tasks.items():
        yield task["dataset"], settings.datasets, f"{_registry('tasks', source)}: {name}: data set"
    for name, model in settings.models.items():
        run = model.get("run", {})
        for protocol, one in run.items() if isinstance(run, dict) else [("", run)]:
            what = f"{_registry('models', source)}: {name}: run {protocol}".strip()
            yield one, settings.runs, f"{what}: pre-training run"
    where = _registry("pretraining", source)
    for name, run in settings.runs.items():
        yield run["mixture"], settings.mixtures, f"{where}: {name}: mixture"
        if "background" in run:
            yield run["background"], settings.mixtures, f"{where}: {name}: background mixture"
        for key in ORIGINS:
            for kind, origin in run.get(key, {}).items():
                known = settings.models if kind == "model" else settings.runs
                yield origin, known, f"{where}: {name}: {key}: {SECTIONS[f'{kind}s'][1]}"
    for name, mixture in settings.mixtures.items():
        for part in mixture["parts"]:
            yield part["dataset"], settings.datasets, f"{where}: mixture {name}: data set"


def _check_ancestry(name: str, runs: Mapping[str, dict], where: str, descendants: tuple[str, ...] = ()) -> None:
    """Every start and teacher goes back to scratch runs or checkpoints."""
    line = (*descendants, name)
    for key in ORIGINS:
        if parent := runs[name].get(key, {}).get("run"):
            if parent in line:
                raise RespfmError(
                    f"{where}: {' <- '.join([*line, parent])} start from each other; one must start from scratch or "
                    "from a checkpoint"
                )
            _check_ancestry(parent, runs, where, line)
