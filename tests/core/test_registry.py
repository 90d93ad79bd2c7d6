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
