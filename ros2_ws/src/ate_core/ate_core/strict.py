"""Strict mapping -> frozen dataclass: unknown keys and missing fields are errors with a remedy."""

import dataclasses
import difflib
import re
import reprlib
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ate_core.entry_checks import EntryCheck
from ate_core.errors import ContractError

T = TypeVar("T")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 2, 12, 8


def build(cls: type[T], values: object, where: str, problems: list[str] | None = None) -> T:
    """Build dataclass ``cls`` from a parsed mapping.

    Args:
        cls: what to build.
        values: the mapping.
        where: names the place in messages.
        problems: gets one sentence for each entry that its field's checks refuse (see
            `ate_core.entry_checks`); None: these are not asked.

    Raises:
        ContractError: unknown key, missing field, wrong type or not finite.
    """
    if not isinstance(values, Mapping):
        raise ContractError(f"{where} is {shown(values)}; need a mapping of {cls.__name__} fields")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ContractError(
                f"{where} has the unknown key {shown(key)}; known keys: "
                f"{', '.join(sorted(fields))}{nearest(key, fields)}"
            )
    hints = typing.get_type_hints(cls, include_extras=problems is not None)
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ContractError(f"{where} lacks the field {name!r}: add it ({_show(hints[name])})")
    return cls(**arguments)


def shown(value: object) -> str:
    """A value of a file for a message: anchors can make a short file's values endless."""
    return _SHORT.repr(value)


def nearest(key: object, known: Iterable[str]) -> str:
    """The known word that was probably meant, as the end of a sentence; empty where none is."""
    words = {word.replace("_", ""): word for word in known}
    plain = re.sub(r"[\W_]", "", str(key)).casefold()
    close = difflib.get_close_matches(plain, words, n=1)
    return f"; did you mean {words[close[0]]}?" if close else ""


_WORDS = {
    float: "a number",
    int: "a whole number",
    str: "a text, in quotes",
    bool: "true or false",
}


def _show(kind: Any) -> str:
    """A field's type in words."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    if typing.get_origin(kind) is tuple:
        return "a list"
    is_mapping = typing.get_origin(kind) is dict or dataclasses.is_dataclass(kind)
    return "a mapping" if is_mapping else _WORDS.get(kind, str(kind))


def build_checked(cls: type[T], values: object, where: str) -> T:
    """Build dataclass ``cls`` from a file's mapping and hold its entries to their checks.

    Raises:
        ContractError: as `build`, or an entry is refused.
    """
    problems: list[str] = []
    try:
        built = build(cls, values, where, problems)
    except ContractError as error:
        raise_first(problems or [str(error)])
    raise_first(problems)
    return built


def raise_first(problems: Sequence[str], more: str = "") -> None:
    """Raise a ContractError with the first of these sentences, if there is one.

    Args:
        problems: one sentence each.
        more: where the others can be seen.
    """
    if not problems:
        return
    others = len(problems) - 1
    where = f": {more}" if more else ""
    raise ContractError(f"{problems[0]}{f' (and {others} more{where})' if others else ''}")


def _convert(kind: Any, value: object, where: str, problems: list[str] | None) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, *checks = typing.get_args(kind)
        converted = _convert(inner, value, where, problems)
        for check in checks:
            if isinstance(check, EntryCheck) and problems is not None:
                wrong = check.problem(converted)
                problems += [f"{where} {wrong}"] if wrong else []
        return converted
    if dataclasses.is_dataclass(kind):
        return build(kind, value, where, problems)  # type: ignore[arg-type]
    if origin is tuple:
        return _convert_tuple(typing.get_args(kind), value, where, problems)
    if origin is dict:
        return _convert_dict(typing.get_args(kind)[1], value, where, problems)
    if origin is typing.Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            near = nearest(value, choices)
            raise ContractError(f"{where} is {shown(value)}; need {_show(kind)}{near}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
        return _convert(kind, value, where, problems)
    return _convert_scalar(kind, value, where)


def _convert_tuple(
    kinds: tuple[Any, ...], value: object, where: str, problems: list[str] | None
) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ContractError(f"{where} is {shown(value)}; need a list")
    return tuple(
        _convert(kinds[0], item, f"{where}[{i}]", problems) for i, item in enumerate(value)
    )


def _convert_dict(
    kind: Any, value: object, where: str, problems: list[str] | None
) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ContractError(f"{where} is {shown(value)}; need a mapping")
    return {
        str(name): _convert(kind, item, f"{where}.{name}", problems)
        for name, item in value.items()
    }


def _convert_scalar(kind: Any, value: object, where: str) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # a whole number may be larger than any float
            raise ContractError(f"{where} is {shown(value)}; need a finite number")
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    is_quoted = kind in (float, int) and isinstance(value, str)
    remedy = ": YAML reads this as a text; no quotes, units or comma, and 1.0e-1 for 1e-1"
    raise ContractError(
        f"{where} is {shown(value)}; need {_show(kind)}{remedy if is_quoted else ''}"
    )


def merge(base: Mapping[str, Any], override: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``base`` with the values of ``override`` laid over it, mapping by mapping."""
    merged = dict(base)
    for key, value in override.items():
        if isinstance(value, Mapping):
            below = base.get(key)
            if not isinstance(below, Mapping):
                raise ContractError(f"{where}.{key} overrides nothing: remove it")
            merged[key] = merge(below, value, f"{where}.{key}")
        else:
            merged[key] = value
    return merged


def require(condition: bool, message: str) -> None:
    """Raise a ContractError with this message unless the condition holds."""
    if not condition:
        raise ContractError(message)
