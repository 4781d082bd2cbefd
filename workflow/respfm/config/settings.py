"""Configuration and registries: read, validated against closed schemas, defaults filled in, cross-checked.

Every complaint is one sentence that names the file and the key, what is wrong, and the nearest valid choice.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respfm.config.manifest import read_manifest
from respfm.config.reading import merge, read_yaml
from respfm.config.schema import validate
from respfm.config.twins import SUFFIX, twin_mixtures, twin_runs, unfold_mixtures, with_twins
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
        registry[name] = validate(
            registry[name], schemas / f"{name}.schema.yaml", f"config/{name}.yaml (with {source} applied)"
        )
    for dataset in registry["datasets"].values():
        if isinstance(listed := dataset["files"], dict):
            dataset["files"] = read_manifest(folder / listed["manifest"], listed["base"])
    where = f"config/pretraining.yaml (with {source} applied)"
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
        changed["expected"] = part["expected"]["from" if curation["inclusive"] else "above"]
    return {**changed, "where": {**part["where"], **curation}}


def _cross_check(settings: Settings, source: str) -> None:
    config = settings.config
    for key in ("results", "downloads"):
        for place in [Path(config[key]), *Path(config[key]).parents]:
            if place.exists() and not place.is_dir():
                raise RespfmError(f"{source}: {key} is {config[key]!r}, but {place} is a file; name a folder")
    for name in config["tasks"]:
        _require(name, settings.tasks, f"{source}: tasks: task")
        _require(
            settings.tasks[name]["dataset"],
            settings.datasets,
            f"config/tasks.yaml (with {source} applied): {name}: data set",
        )
    for name in [*config["models"], *config["figures"]["layers"]]:
        _require(name, settings.models, f"{source}: model")
    for name in config["runs"]:
        _require(name, settings.runs, f"{source}: runs: pre-training run")
    for name in config["local"]:
        _require(name, settings.datasets, f"{source}: local: data set")
    mapped = config["figures"]["embedding_map"]
    for name in [*config["figures"]["layers"], *([mapped] if mapped else [])]:
        if name not in config["models"]:
            raise RespfmError(f"{source}: figures names the model {name!r}, which is not under models; add it there")
    for name, model in settings.models.items():
        if "file" in model and not Path(model["file"]).is_file():
            raise RespfmError(f"{source}: {name}: file is {model['file']!r}, where no checkpoint is; correct the path")
        run = model.get("run")
        for protocol, one in run.items() if isinstance(run, dict) else [("", run)]:
            if one is not None:
                _require(
                    one,
                    settings.runs,
                    f"config/models.yaml: {name}: run {protocol}".strip() + ": pre-training run",
                )
    for name, run in settings.runs.items():
        _require(run["mixture"], settings.mixtures, f"config/pretraining.yaml: {name}: mixture")
        background = run.get("background")
        if background:
            _require(background, settings.mixtures, f"config/pretraining.yaml: {name}: background mixture")
        for key in ("init_from", "teacher"):
            if model := run.get(key, {}).get("model"):
                _require(model, settings.models, f"config/pretraining.yaml: {name}: {key}: model")
                if not {"file", "checkpoint"} & set(settings.models[model]):
                    raise RespfmError(
                        f"config/pretraining.yaml: {name}: {key}: {model} has neither `file` nor `checkpoint`; if a "
                        f"run makes its weights, write `{key}: {{run: <that run>}}`"
                    )
        _check_ancestry(name, settings.runs)
    for name, mixture in settings.mixtures.items():
        for part in mixture["parts"]:
            _require(part["dataset"], settings.datasets, f"config/pretraining.yaml: mixture {name}: data set")


def _check_ancestry(name: str, runs: Mapping[str, dict], descendants: tuple[str, ...] = ()) -> None:
    """Every start and teacher goes back to scratch runs or checkpoints."""
    line = (*descendants, name)
    for key in ("init_from", "teacher"):
        if parent := runs[name].get(key, {}).get("run"):
            _require(parent, runs, f"config/pretraining.yaml: {name}: {key}: pre-training run")
            if parent in line:
                raise RespfmError(
                    f"config/pretraining.yaml: {' <- '.join([*line, parent])} start from each other; one must start "
                    "from scratch or from a checkpoint"
                )
            _check_ancestry(parent, runs, line)
