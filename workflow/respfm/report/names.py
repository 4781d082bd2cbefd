"""Titles and marks of models in tables and figures."""

from collections.abc import Mapping

OVERLAP = "†"
OVERLAP_NOTE = (
    f"{OVERLAP} The weights heard test recordings of this task, or others of its test patients, in pre-training, so "
    "the number is no test."
)
MARKS = {"random": "random weights", "own": "own weights"}


def marked(title: str, weights: str | None) -> str:
    """The title, saying that the weights are random or made here unless it says so already."""
    mark = MARKS.get(weights or "")
    return f"{title} ({mark})" if mark and mark.split()[0] not in title.lower() else title


def model_title(name: str, models: Mapping[str, Mapping]) -> str:
    """Title of a registry model; says so if its weights are random."""
    entry = models[name]
    title = entry.get("title", name)
    return marked(title, "random") if entry["weights"] == "random" else title


def overlaps_test(entry: Mapping, task: str, protocol: str) -> bool:
    """Whether a registry model was pre-trained on test data of a task; its strict score is then not a test result."""
    return protocol == "strict" and task in entry.get("pretraining_overlap", ())
