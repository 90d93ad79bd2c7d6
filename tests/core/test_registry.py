import dataclasses
import math

import pytest

from ate_core.errors import ContractError, UsageError
from ate_core.registry import Registry

SHAPES = Registry(
    what="shape", group="ate.test_shapes", builtin={"box": "math:pi", "ball": "math:nothing"}
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package outside the project that adds a shape and tries to replace another."""
    (tmp_path / "shape_of_others.py").write_text("CONE = 'a cone'\nBOX = 'another box'\n")
    info = tmp_path / "shapes_of_others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shapes-of-others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ate.test_shapes]\ncone = shape_of_others:CONE\nbox = shape_of_others:BOX\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_built_in_name_is_loaded():
    assert SHAPES.load("box") == pytest.approx(3.14159, abs=1e-5)


def test_an_installed_package_adds_a_name_but_replaces_none(installed):
    assert SHAPES.names() == ("box", "ball", "cone")
    assert SHAPES.load("cone") == "a cone"
    assert SHAPES.load("box") == pytest.approx(3.14159, abs=1e-5)


def test_an_unknown_name_is_refused_with_the_known_ones_and_a_suggestion():
    with pytest.raises(UsageError, match=r"no shape 'bok': known are box, ball; did you mean box"):
        SHAPES.load("bok")
    cell = Registry(what="driver", group="ate.none", builtin={}, error=ContractError)
    with pytest.raises(ContractError, match="no driver 'x'"):
        cell.require("x")


def test_an_entry_that_promises_what_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"math:nothing, which does not exist"):
        SHAPES.load("ball")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """An installed package whose shapes need what is not there."""
    (tmp_path / "broken_shapes.py").write_text("import a_module_that_is_absent\n")
    info = tmp_path / "broken_shapes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-shapes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ate.test_shapes]\nspike = broken_shapes:SPIKE\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("broken")
def test_a_package_that_cannot_be_imported_is_named_with_its_entry_point():
    with pytest.raises(
        UsageError,
        match=r"'spike' of broken-shapes cannot be imported: entry point broken_shapes:SPIKE of "
        r"group ate.test_shapes ends in .*a_module_that_is_absent",
    ):
        SHAPES.load("spike")


@pytest.mark.usefixtures("broken")
def test_a_broken_package_is_left_out_of_the_choices_with_one_warning(caplog):
    shapes = dataclasses.replace(SHAPES, builtin={"box": "math:pi"})
    for _ in range(2):
        assert shapes.load_working(shapes.load) == {"box": math.pi}
    [record] = caplog.records
    assert "broken_shapes:SPIKE" in record.message and "going on without" in record.message
    with pytest.raises(UsageError, match="math:nothing"):  # ours must all be there
        SHAPES.load_working(SHAPES.load)


def test_two_names_of_one_class_are_refused_with_both():
    kinds = {"box": int, "ball": str}
    assert SHAPES.name_of(str, kinds) == "ball" and SHAPES.name_of(float, kinds) is None
    with pytest.raises(UsageError, match="shape 'box' and 'crate' have one class of options"):
        SHAPES.name_of(int, {**kinds, "crate": int})
