"""Values checked against the closed schemas of config/schemas, and absent keys filled in.

Every complaint is one sentence that names the file and the key, what is wrong, and the nearest valid choice.
"""

import functools
import math
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import referencing

from respfm.config.reading import read_yaml
from respfm.errors import RespfmError, suggest

TYPES = {
    "object": "a mapping, `key: value`",
    "array": "a list, `[a, b]`",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_number, "integer": _is_integer}
    ),
)


@functools.cache
def read_schema(path: Path) -> dict[str, Any]:
    """A schema of config/schemas; not to be changed."""
    return read_yaml(path)


def validate(value: Any, path: Path, source: str) -> Any:
    """Return `value` with the defaults of the schema at `path` filled in, or raise RespfmError naming `source`."""
    value, schema = deepcopy({} if value is None else value), read_schema(path)

    def neighbour(name: str) -> referencing.Resource:
        return referencing.Resource.from_contents(read_schema(path.parent / name))

    validator = _Validator(schema, registry=referencing.Registry(retrieve=neighbour))
    errors = sorted(validator.iter_errors(value), key=lambda e: (len(e.absolute_path), str(e.absolute_path)))
    if errors:
        raise RespfmError(_complaint(errors[0], source, schema))
    _fill(value, schema, schema)
    return value


def _fill(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Put the defaults of `schema` in place of absent keys, but where it says `fill: false` or is of another file."""
    schema = resolve(schema, root)
    if not schema.get("fill", True):
        return
    if isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items", {}), root)
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, entry in properties.items():
            if "default" in entry:
                value.setdefault(key, deepcopy(entry["default"]))
        others = schema.get("additionalProperties") or {}
        for key, item in value.items():
            _fill(item, properties.get(key, others), root)


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """`schema` with what its `$ref` names in the same file, which it may add to."""
    name = schema.get("$ref", "")
    return {**root["$defs"][name.removeprefix("#/$defs/")], **schema} if name.startswith("#") else schema


def _complaint(error: jsonschema.ValidationError, source: str, root: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in known)
        homes = [home for home in _homes(key, root) if home != key] if where == "the top level" else []
        better = suggest(key, known) if known else "remove it"
        if homes:
            better = f"did you mean {' or '.join(map(repr, homes))}?"
        return f"{source}: unknown key {key!r} at {where}; {better}"
    if error.validator in ("anyOf", "oneOf") and error.context:
        deepest = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
        return _complaint(deepest, source, root)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{source}: {where} lacks the key {missing[0]!r}; add it"
    if error.validator == "enum":
        return (
            f"{source}: {where} is {error.instance!r}, which is not allowed; "
            f"{suggest(error.instance, error.validator_value)}"
        )
    hint = error.schema.get("description", "see config/README.md").rstrip(".")
    if error.validator == "type":
        kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        wanted = " or ".join(TYPES[kind] for kind in kinds)
        return f"{source}: {where} is {_shown(error.instance)}, but {wanted} is expected; {hint}"
    return f"{source}: {where}: {error.message}; {hint}"


def _homes(key: str, schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Where a key belongs that stands at the wrong level."""
    for name, entry in schema.get("properties", {}).items():
        if name == key:
            yield prefix + name
        yield from _homes(key, entry, f"{prefix}{name}.")


def _shown(value: Any) -> str:
    """A value of the wrong type as the user sees it."""
    if value is None:
        return "empty"
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return f"the text {value!r} (YAML reads 1e-3 as text; write 1.0e-3)"
    return repr(value)
