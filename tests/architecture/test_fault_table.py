"""The page of faults names tests that exist, and mutations find their place and their tests."""

import ast
import functools
import re
from pathlib import Path

import pytest

from benchmarks.mutations import MUTATIONS, ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines()
    if line.startswith("| ") and "::" in line
]
TEST = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


@functools.cache
def names_in(file: Path) -> set[str]:
    """Tests that pytest collects from a file: functions at its top."""
    return {n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}


def missing(names) -> list[str]:
    parts = [name.split("::") for name in names]
    return [
        "::".join([file, name])
        for file, name in parts
        if not (ROOT / file).is_file() or name not in names_in(ROOT / file)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:30])
def test_every_fault_of_the_page_has_a_reaction_and_tests_that_exist(row):
    assert len(row) == 3
    names = TEST.findall(row[2])
    assert len(names) >= 2 and len(names) == row[2].count("`") / 2
    assert missing(names) == []


def test_no_fault_was_lost_from_the_page():
    assert len(ROWS) == len({row[0] for row in ROWS}) == 33


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_finds_its_place_once_and_its_tests(mutation):
    text = mutation.path(ROOT).read_text()
    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new
    ast.parse(
        text.replace(mutation.old, mutation.new)
    )  # a mutant that is no program shows nothing
    assert mutation.tests and missing(mutation.tests) == []


def test_names_of_mutations_are_unique():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
