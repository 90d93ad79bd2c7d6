"""YAML without its silent traps: a key that is there twice is an error, not the last one wins."""

from collections.abc import Hashable
from typing import Any

import yaml


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
        yaml.YAMLError: it is no YAML, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)
