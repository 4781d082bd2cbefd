"""Digests of the code that a script really runs.

Snakemake tracks the modification time of a script and none of the modules that it imports. Here the modules are
found by following the imports, also those inside functions, and each is reduced to its syntax tree without what
decides no result: comments, layout, docstrings, and the text of what is only said (errors, log lines).
"""

import ast
import functools
import hashlib
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from respfm.errors import RespfmError

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
# These modules surround a job or word its errors: no result depends on them.
NEVER_DECIDES = re.compile(r"respfm\.(jobs|errors)\b")
# These calls only tell the user something. AudioError is not among them: its reason is part of a result.
SAYS = re.compile(r"RespfmError|print|tqdm\.write|self\.say|(log|logger)\.(info|warning)")


def _module_path(name: str) -> Path | None:
    if name.partition(".")[0] != PACKAGE_ROOT.name:
        return _foreign_path(name)
    relative = PACKAGE_ROOT.parent.joinpath(*name.split("."))
    for candidate in (relative / "__init__.py", relative.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _foreign_path(name: str) -> Path | None:
    """File of a user's own module, wherever Python finds it."""
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _module_name(path: Path) -> str | None:
    if not path.is_relative_to(PACKAGE_ROOT):
        return None
    parts = path.relative_to(PACKAGE_ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _strip_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]


class _Silence(ast.NodeTransformer):
    """Removes the text from calls that only say something; the expressions in it stay."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name | ast.Attribute) and SAYS.fullmatch(ast.unparse(node.func)):
            for inner in ast.walk(node):
                if isinstance(inner, ast.JoinedStr):
                    inner.values = [value for value in inner.values if not isinstance(value, ast.Constant)]
                elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    inner.value = ""
        return node


def _imported_names(tree: ast.Module, package: str | None) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and package is not None:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def _read_module(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of one file's normalised syntax tree, and the package's own modules that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    name = _module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0] if name else None
    imported = {
        prefix
        for target in _imported_names(tree, package)
        if target.split(".")[0] == PACKAGE_ROOT.name
        for prefix in _prefixes(target)
        if not NEVER_DECIDES.match(prefix) and _module_path(prefix)
    }
    _strip_docstrings(tree)
    tree = _Silence().visit(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(sorted(imported))


def _prefixes(name: str) -> Iterable[str]:
    """Importing `respfm.a.b` runs `respfm/a/__init__.py` too; the root package holds only a version and is left out."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(1, len(parts)))


def reached_files(entry: Path, modules: Iterable[str] = ()) -> list[Path]:
    """The script `entry`, the plug-in `modules` that it loads by name, and all package files that they import."""
    pending = [Path(entry).resolve()]
    for module in modules:
        own = module.partition(".")[0] == PACKAGE_ROOT.name
        for prefix in _prefixes(module) if own else [module]:
            path = _module_path(prefix)
            if path is None:
                raise RespfmError(
                    f"the module {module} cannot be found; check its name, and that PYTHONPATH has its folder"
                )
            pending.append(path)
    reached: set[Path] = set()
    while pending:
        path = pending.pop()
        if path in reached:
            continue
        reached.add(path)
        pending.extend(p for name in _read_module(path)[1] if (p := _module_path(name)))
    return sorted(reached)


def code_digest(entry: Path, modules: Iterable[str] = ()) -> str:
    """SHA-256 over the normalised code of everything that `entry` and the plug-in `modules` reach."""
    total = hashlib.sha256()
    for path in reached_files(entry, modules):
        label = _module_name(path) or path.name
        total.update(f"{label} {_read_module(path)[0]}\n".encode())
    return total.hexdigest()
