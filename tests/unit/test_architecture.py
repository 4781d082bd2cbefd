"""The library has layers: no import cycles, no Snakemake, no module that has outgrown one idea."""

import ast
import graphlib
from pathlib import Path

import pytest
from respfm.jobs.code import PACKAGE_ROOT

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(PACKAGE_ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE_ROOT.rglob("*.py"))
}


def imports(name: str) -> set[str]:
    """Everything that a module names in its imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def test_no_module_imports_itself_over_others():
    graph = {name: (imports(name) & MODULES.keys()) - {name, "respfm"} for name in MODULES}
    # A name of a package is not a need of the package's own modules for each other.
    graph = {name: {other for other in needs if not name.startswith(f"{other}.")} for name, needs in graph.items()}
    assert sum(map(len, graph.values())) > 200
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_knows_nothing_of_snakemake(name):
    assert not {target for target in imports(name) if target.partition(".")[0] == "snakemake"}
    assert ast.get_docstring(ast.parse(MODULES[name].read_text())), f"{name} does not say what it is for"


def test_every_script_belongs_to_a_rule_and_is_thin():
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    for path in (REPOSITORY / "workflow" / "scripts").glob("*.py"):
        assert f"rule {path.stem}:" in rules
        assert f"scripts/{path.name}" in rules
        assert len(path.read_text().splitlines()) <= 50, f"{path.name} is no thin script"


def test_files_stay_readable():
    sources = [*MODULES.values(), *(REPOSITORY / "rules").glob("*.smk")]
    assert not [path.name for path in sources if len(path.read_text().splitlines()) > 500]
