"""What a configuration needs: the data sets, mixtures, runs, shards and tables that the rules of the workflow name.

Static and cheap: names and numbers from the registries only, no file is looked at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from respfm.config.settings import Settings
from respfm.encoders.registry import Model, resolve

LABEL_SOURCE = "opera"
TABLE_SUFFIX = {"published": "", "strict": "_strict"}


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Plan:
    """The selected part of the registries, in a fixed order."""

    settings: Settings

    @property
    def config(self) -> dict[str, Any]:
        """The validated configuration."""
        return self.settings.config

    @property
    def protocols(self) -> list[str]:
        """Selected protocols."""
        return self.config["protocols"]

    @property
    def tasks(self) -> list[str]:
        """Selected tasks."""
        return self.config["tasks"]

    @property
    def models(self) -> list[str]:
        """Selected models."""
        return self.config["models"]

    @cached_property
    def task_datasets(self) -> list[str]:
        """Data sets of the selected tasks."""
        return _unique(self.settings.tasks[task]["dataset"] for task in self.tasks)

    @cached_property
    def runs(self) -> list[str]:
        """Pre-training runs of the models, those asked for, their ancestors and teachers, which come first."""

        def line(run: str) -> list[str]:
            sources = filter(None, (self.parent_run(run), self.teacher_run(run)))
            return [*(name for source in sources for name in line(source)), run]

        wanted = [run for model in self.models for protocol in self.protocols if (run := self.run_of(model, protocol))]
        return _unique(name for run in [*wanted, *self.config["runs"]] for name in line(run))

    @cached_property
    def mixtures(self) -> list[str]:
        """Mixtures of the runs, and their backgrounds."""
        found = []
        for run in self.runs:
            found.append(self.settings.runs[run]["mixture"])
            if background := self.settings.runs[run].get("background"):
                found.append(background)
        return _unique(found)

    def mixtures_under(self, protocol: str) -> list[str]:
        """Mixtures that the models of `protocol` were pre-trained on, those of ancestors included."""
        runs = [run for model in self.models if (run := self.run_of(model, protocol))]
        for run in runs:
            if (parent := self.parent_run(run)) and parent not in runs:
                runs.append(parent)
        return _unique(self.settings.runs[run]["mixture"] for run in runs)

    @cached_property
    def mixture_datasets(self) -> list[str]:
        """Data sets of which a log-mel store is needed."""
        return _unique(name for mixture in self.mixtures for name in self.datasets_of(mixture))

    @cached_property
    def datasets(self) -> list[str]:
        """All data sets with recordings."""
        return _unique([*self.task_datasets, *self.mixture_datasets])

    @cached_property
    def sources(self) -> list[str]:
        """All data sets to retrieve: those with recordings and the benchmark's label arrays."""
        return [*self.datasets, LABEL_SOURCE]

    def model(self, name: str, protocol: str, dataset: str | None = None) -> Model:
        """What model `name` is under `protocol` and for `dataset`."""
        return resolve(self.settings.models[name], protocol, dataset)

    def run_of(self, model: str, protocol: str) -> str | None:
        """The pre-training run that gives `model` its weights under `protocol`."""
        run = self.settings.models[model].get("run")
        return run.get(protocol) if isinstance(run, dict) else run

    def parent_run(self, run: str) -> str | None:
        """The run whose encoder `run` starts from."""
        return self.settings.runs[run].get("init_from", {}).get("run")

    def parent_model(self, run: str) -> str | None:
        """The published model whose checkpoint `run` starts from."""
        return self.settings.runs[run].get("init_from", {}).get("model")

    def teacher_model(self, run: str) -> str | None:
        """The published model that is the offline teacher of `run`."""
        return self.settings.runs[run].get("teacher", {}).get("model")

    def teacher_run(self, run: str) -> str | None:
        """The run that is the offline teacher of `run`."""
        return self.settings.runs[run].get("teacher", {}).get("run")

    def datasets_of(self, mixture: str) -> list[str]:
        """Data sets that `mixture` draws from."""
        return _unique(part["dataset"] for part in self.settings.mixtures[mixture]["parts"])

    def datasets_of_run(self, run: str) -> list[str]:
        """Data sets whose log-mel shards `run` reads."""
        entry = self.settings.runs[run]
        names = [entry["mixture"], *([entry["background"]] if entry.get("background") else [])]
        return _unique(dataset for name in names for dataset in self.datasets_of(name))

    def tasks_of(self, dataset: str) -> list[str]:
        """Selected tasks on `dataset`."""
        return [task for task in self.tasks if self.settings.tasks[task]["dataset"] == dataset]

    def tasks_kept_out_of(self, mixture: str) -> list[str]:
        """Tasks whose test recordings and patients `mixture` leaves out: all of OPERA, others where selected."""
        if "exclude" not in self.settings.mixtures[mixture]:
            return []
        mine = self.datasets_of(mixture)
        tasks = self.settings.tasks.items()
        return [n for n, task in tasks if task["dataset"] in mine and ("opera" in task or n in self.tasks)]

    def shards_of(self, dataset: str) -> list[str]:
        """Names of the log-mel shards of `dataset`; fixed by the registry, never by the machine."""
        return [f"{i:03d}" for i in range(self.settings.datasets[dataset]["shards"])]

    def checkpoint_models(self) -> list[str]:
        """Published checkpoints to retrieve: of the models, and of the runs that start from one or learn from one."""
        own = [name for name in self.models if self.settings.models[name].get("checkpoint")]
        needed = [name for run in self.runs for name in (self.parent_model(run), self.teacher_model(run)) if name]
        return _unique([*own, *(name for name in needed if "file" not in self.settings.models[name])])

    def waveform_rate(self, model: str) -> int | None:
        """Sample rate of the cached waveforms that `model` takes; None if only its own class knows it."""
        return self.model(model, "strict").sample_rate

    def statistics_tasks(self, model: str, protocol: str, dataset: str) -> list[str]:
        """Tasks whose training recordings give the statistics that normalise the input of `model`."""
        by_training = self.settings.models[model]["statistics"] == "training"
        return self.tasks_of(dataset) if by_training and protocol == "strict" else []

    def default_layer(self, model: str, protocol: str) -> str | None:
        """The layer that tables and maps show under `protocol`; None for the one that the encoder itself prefers."""
        return self.model(model, protocol).default_layer

    @property
    def tables(self) -> list[str]:
        """Tables 1 to 4; those of results, 2 to 4, once for each protocol selected."""
        suffixes = [suffix for protocol, suffix in TABLE_SUFFIX.items() if protocol in self.protocols]
        return ["table1", *(f"table{number}{suffix}" for number in (2, 3, 4) for suffix in suffixes)]

    def protocol_of_table(self, table: str) -> str:
        """Table 1 shows the first protocol of the configuration, the others that of their name."""
        if table == "table1":
            return self.protocols[0]
        return next(name for name, suffix in TABLE_SUFFIX.items() if table[len("table1") :] == suffix)

    def described_models(self) -> dict[str, dict]:
        """What tables and figures say about the models."""
        keys = (
            *("title", "weights", "paper_row", "note", "checkpoint", "run", "family", "citation", "default_layer"),
            "pretraining_overlap",
        )
        return {name: {key: entry[key] for key in keys if key in entry} for name, entry in self.settings.models.items()}
