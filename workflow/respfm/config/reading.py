"""Files as people write them, mostly YAML: read with clear errors, and laid one over the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from respfm.errors import RespfmError

_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FASTEST):
    """A safe loader that refuses duplicate keys, of which YAML silently drops the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in seen:
                raise RespfmError(
                    f"duplicate key {key.value!r} in lines {seen[key.value]} and {line}; remove or rename one"
                )
            seen[key.value] = line
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except IsADirectoryError as error:
        raise RespfmError(f"{path} is a directory; a file is expected there") from error
    except FileNotFoundError as error:
        raise RespfmError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise RespfmError(f"{path} cannot be read ({error.strerror}); correct the path or its permissions") from error
    except UnicodeDecodeError as error:
        raise RespfmError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; RespfmError names the file and line of a mistake, a duplicate key included."""
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_Loader)
    except RespfmError as error:
        raise RespfmError(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        fix = "indent with spaces, not tabs" if "\t" in text else "correct it there"
        said = " ".join(str(error).replace('"<unicode string>", ', "").split())
        raise RespfmError(f"{path} is not valid YAML: {said}; {fix}") from error


def read_configs(paths: Sequence[Path], default: Path) -> dict:
    """Configurations laid one over the other; over `default`, as the Snakefile does, if none is a whole one."""
    config: dict = {}
    for path in paths:
        change = read_yaml(path)
        if not isinstance(change, Mapping):
            raise RespfmError(f"{path} is no configuration; it must hold `key: value` lines as {default} does")
        config = merge(config, change)
    return config if "data_kind" in config else merge(read_yaml(default), config)


def merge(base: Mapping, change: Mapping) -> dict:
    """`base` with `change` laid over it; mappings merge key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
