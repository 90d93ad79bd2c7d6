"""YAML without its silent traps: a key that is there twice is an error, not the last one wins.

Nor is a number taken for another: ``0123`` and ``1:30`` are 83 and 90 in YAML.
"""

import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

LARGEST_TEXT = 100_000
"""Longest text that is read [characters]: a hundred cells would fit, and more takes minutes."""


MOST_ENTRIES = 10_000
"""Most entries of one mapping, merged ones included: merges of merges grow without end."""
_AS_WRITTEN = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)|[^:_]*[.][^:_]*")
"""Numbers that people and YAML read alike."""


class _Loader(yaml.SafeLoader):
    """Reads plain values only, and each key of a mapping once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key!r} of line {seen[key]} is there again in line {line}",
                )
            if isinstance(key, Hashable):
                seen[key] = line
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_ENTRIES:
            raise yaml.constructor.ConstructorError(
                None, None, f"a mapping has more than {MOST_ENTRIES} entries", node.start_mark
            )


def _as_written(construct: Callable[[_Loader, yaml.ScalarNode], float]) -> Callable[..., float]:
    """Construct numbers, but none whose digits people count in another way than YAML does."""

    def read(loader: _Loader, node: yaml.ScalarNode) -> float:
        number = construct(loader, node)
        if not _AS_WRITTEN.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"YAML reads {node.value[:40]} as {number}: write that, or quotes for a text",
                node.start_mark,
            )
        return number

    return read


_Loader.add_constructor("tag:yaml.org,2002:int", _as_written(_Loader.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _as_written(_Loader.construct_yaml_float))


def read_text(file: Path, longest: int = LARGEST_TEXT) -> str:
    """Text of a file, cut off one character after the longest: a device has no end.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    with file.open() as stream:
        return stream.read(longest + 1)


def read_yaml(text: str) -> Any:
    """Values of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, a mapping has a key twice, or it is larger or deeper than
            anything that people write.
    """
    if len(text) > LARGEST_TEXT:
        raise yaml.YAMLError(
            f"it is longer than {LARGEST_TEXT} characters; need a file of settings"
        )
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is too deep: are there brackets that nothing closes?") from None
    except ValueError as error:  # an impossible date, or a number of thousands of digits
        raise yaml.YAMLError(f"a value cannot be read: {error}") from None
