"""The reference of all keys in config/README.md, made from the schemas: `python -m respfm.config.reference`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from respfm.config.reading import read_text
from respfm.config.schema import read_schema
from respfm.files import write_text

CONFIG = Path(__file__).resolve().parents[3] / "config"
HEADING = "## Keys\n"
SECTIONS = {
    "A configuration": "config.schema.yaml",
    "A data set (datasets.yaml)": "datasets.schema.yaml#/additionalProperties",
    "A task (tasks.yaml)": "tasks.schema.yaml#/additionalProperties",
    "A model (models.yaml)": "models.schema.yaml#/additionalProperties",
    "A mixture (pretraining.yaml)": "pretraining.schema.yaml#/properties/mixtures/additionalProperties",
    "A run (pretraining.yaml)": "pretraining.schema.yaml#/properties/runs/additionalProperties",
}
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def reference() -> str:
    """The tables, one for each form of entry."""
    tables = []
    for title, place in SECTIONS.items():
        lines = [f"### {title}\n", "| key | value | default | meaning |", "|---|---|---|---|"]
        schema, name = _resolved({"$ref": place}, "")
        lines += (f"| {' | '.join(row)} |" for row in _rows(schema, name))
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def updated(readme: str) -> str:
    """The text of config/README.md with the reference of now."""
    return readme.partition(HEADING)[0] + HEADING + "\n" + reference()


def _resolved(schema: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """A schema of the file `name` with what its `$ref` stands for, and the file that this is in."""
    if "$ref" not in schema:
        return schema, name
    file, _, pointer = schema["$ref"].partition("#/")
    target = read_schema(CONFIG / "schemas" / (file or name))
    for part in filter(None, pointer.split("/")):
        target = target[part]
    target, name = _resolved(target, file or name)
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}, name


def _rows(schema: dict[str, Any], name: str, prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Key, value, default and meaning of all keys of `schema`, which stands in the file `name`."""
    for key, entry in schema.get("properties", {}).items():
        full, home = _resolved(entry, name)
        if full.keys() & {"type", "enum", "anyOf", "oneOf"}:
            required = key in schema.get("required", ())
            yield f"`{prefix}{key}`", _value(full, home), _default(full, required), full.get("description", "")
        if full.get("properties") is not schema["properties"]:
            yield from _rows(full, home, f"{prefix}{key}.")
        items, home = _resolved(full.get("items", {}), home)
        yield from _rows(items, home, f"{prefix}{key}[].")
    for rule in schema.get("allOf", ()):
        yield from _rows(rule.get("then", {}), name, prefix)


def _value(schema: dict[str, Any], name: str) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_value(choice, name) for choice in choices)
    kinds = schema.get("type", "any")
    return " or ".join(_kind(kind, schema, name) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind(kind: str, schema: dict[str, Any], name: str) -> str:
    if kind == "array":
        items, home = _resolved(schema.get("items", {}), name)
        inside = "entries" if items.get("type") == "object" else _value(items, home)
        return f"list of {inside}"
    return "section" if kind == "object" else TYPES.get(kind, kind)


def _default(schema: dict[str, Any], required: bool) -> str:
    if required or "default" not in schema:
        return "required" if required else "-"
    value = schema["default"]
    if value in ({}, [], ""):
        return "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Write the reference into config/README.md."""
    path = CONFIG / "README.md"
    write_text(path, updated(read_text(path)))


if __name__ == "__main__":
    main()
