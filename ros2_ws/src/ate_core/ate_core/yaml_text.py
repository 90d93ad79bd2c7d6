"""YAML without its silent traps: a key that is there twice is an error, not the last one wins."""

from collections.abc import Hashable
from typing import Any

import yaml

LARGEST_TEXT = 1_000_000
"""Longest text that is read [characters]: more takes minutes and is no file of settings."""


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
