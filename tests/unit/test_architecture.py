"""The tree is the map: a folder a stage, layers that import downwards, no Snakemake in the library, thin scripts."""

import ast
import graphlib
import re
from pathlib import Path

import pytest
from respfm.config import parameters
from respfm.jobs.code import PACKAGE_ROOT

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(PACKAGE_ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE_ROOT.rglob("*.py"))
}

STAGES = {path.stem for path in (REPOSITORY / "rules").glob("*.smk")} - {"common"}
TOOLS = {"audio", "device", "errors", "files", "recordings", "shard", "store", "weights", "workers"}
# Beside the tools; what `config` and `cli` import runs in no job.
LAYERS = {
    "jobs": set(),
    "retrieve": set(),
    "curate": set(),
    "audit": set(),
    "demo": set(),
    "m2d": set(),
    "probe": set(),
    "logmel": {"jobs"},
    "pretrain": {"jobs", "logmel", "m2d"},
    "encoders": {"logmel", "m2d"},
    "embed": {"encoders", "jobs"},
    "report": {"probe"},
    "config": {"encoders", "m2d", "pretrain", "retrieve"},
}
LOWEST = {
    "errors": set(),
    "files": {"errors"},
    "jobs": {"errors", "files"},
    "store": {"errors", "shard"},
    "shard": {"errors", "files"},
    **{tool: {"errors"} for tool in TOOLS - {"errors", "files", "shard", "store"}},
}


def room(module: str) -> str:
    """The folder or loose module of the library that a dotted name belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


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


def test_each_stage_is_a_folder_and_tools_are_few():
    assert {room(name) for name in MODULES} - {""} == STAGES | LAYERS.keys() | TOOLS | {"cli"}
    loose = {name for name, path in MODULES.items() if path.parent == PACKAGE_ROOT and name != "respfm"}
    assert {room(name) for name in loose} == TOOLS


@pytest.mark.parametrize("folder", [*LAYERS, *sorted(TOOLS)])
def test_layers_import_only_what_lies_below_them(folder):
    needs = {room(target) for name in MODULES if room(name) == folder for target in imports(name) if target in MODULES}
    allowed = LOWEST[folder] if folder in LOWEST else LAYERS[folder] | TOOLS
    assert needs - {"", folder} <= allowed


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


def test_every_function_of_parameters_is_used():
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    source = Path(parameters.__file__).read_text()
    used = {*re.findall(r"\bparameters\.(\w+)", rules), *re.findall(r"\b(\w+)\(plan\)", source)}
    assert set(re.findall(r"^def ([a-z]\w+)", source, re.MULTILINE)) <= used


def test_files_stay_readable():
    sources = [*MODULES.values(), *(REPOSITORY / "rules").glob("*.smk")]
    assert not [path.name for path in sources if len(path.read_text().splitlines()) > 500]


def test_error_messages_end_without_a_full_stop():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "RespfmError" and node.args:
                text = node.args[0]
                last = text.values[-1] if isinstance(text, ast.JoinedStr) else text
                if isinstance(last, ast.Constant):
                    assert not re.search(r"[^.]\.$", last.value), f"{name}: {last.value}"
