"""How models are called wherever they are shown."""

from collections.abc import Mapping

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
