"""The program that draws the pictures of the pages still fits the simulated cell."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from ate_core.contract import SIDES

SCRIPT = Path(__file__).parents[2] / "tools" / "make_pictures.py"


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("make_pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_picture_shows_both_hands_beside_what_the_cameras_see(pictures):
    env = pictures.CellEnv(pictures.TASK)
    studio = pictures.Studio(env, (320, 192))
    *_, hands = itertools.islice(pictures.episode(env), 4)
    assert all(len(hands[side]) == 4 for side in SIDES)
    seen = pictures.camera_pictures(env)
    assert [name for name, _ in seen] == ["overhead", "left wrist", "right wrist"]
    whole = np.asarray(pictures.beside(studio.shoot(hands), seen))
    assert whole.shape == (192, 320 + seen[0][1].shape[1], 3)
    assert whole[:, :320].std() > 10  # something is there
    env.close()
