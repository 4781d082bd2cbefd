"""What tables and figures of results show: the models of a run beside those of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from respfm.report import paper


@dataclass(frozen=True)
class Shown:
    """All registry entries by name, the names of those that the run evaluates, in order, the directory of the paper's
    numbers, and the kind of the data: "synthetic", "sample" or "full".
    """

    models: Mapping[str, Mapping]
    selected: Sequence[str]
    paper_dir: Path
    data_kind: str

    def paper_keys(self) -> dict[str, str | None]:
        """Key of the printed row that each model stands for; None for models that the paper does not have."""
        return {name: paper.paper_key(name, entry, self.paper_dir) for name, entry in self.models.items()}
