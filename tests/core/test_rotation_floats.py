"""Rotations as plain floats say what arrays say."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ate_core import rotation_floats as floats
from ate_core.geometry import matrix_to_quaternion, rotation_exp, rotation_log

RANDOM = np.random.default_rng(5)
ANGLES = (0.0, 1e-300, 1e-13, 9e-9, 1.1e-8, 1e-5, 0.3, 2.0, 3.1, math.pi - 1e-9, math.pi)
AXES = [axis / np.linalg.norm(axis) for axis in RANDOM.normal(size=(20, 3))]
VECTORS = [angle * np.array(axis) for angle in ANGLES for axis in [*np.eye(3), *-np.eye(3), *AXES]]


def entries(rotation):
    return tuple(np.asarray(rotation).ravel().tolist())


def test_a_rotation_is_that_of_scipy_and_comes_back_as_its_vector():
    for vector in VECTORS:
        rotation = floats.exp(vector.tolist())
        other = Rotation.from_rotvec(vector)
        assert rotation == pytest.approx(entries(other.as_matrix()), abs=1e-14)
        quaternion = np.array(floats.quaternion_of(rotation))
        away = min(
            np.abs(quaternion - other.as_quat()).max(), np.abs(quaternion + other.as_quat()).max()
        )
        assert away < 1e-14 and quaternion[3] >= 0.0
        again = floats.exp(floats.log(rotation))
        assert again == pytest.approx(rotation, abs=2e-12), "none below NO_SINE"
        assert math.hypot(*floats.log(rotation)) <= math.pi + 1e-12


def test_products_inverses_and_vectors_are_those_of_arrays():
    for _ in range(50):
        a, b = RANDOM.normal(size=(2, 3, 3))
        v, w = RANDOM.normal(size=(2, 3))
        one, other, left, right = entries(a), entries(b), tuple(v.tolist()), tuple(w.tolist())
        assert floats.product(one, other) == pytest.approx(entries(a @ b))
        assert floats.transposed(one) == entries(a.T)
        assert floats.applied(one, left) == pytest.approx(entries(a @ v))
        assert floats.agreement(one, other) == pytest.approx(np.trace(a.T @ b))
        assert floats.plus(left, right) == entries(v + w)
        assert floats.minus(left, right) == entries(v - w)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(9))
def test_what_is_no_number_stays_so_and_raises_nothing(bad, place):
    rotation = np.eye(3)
    rotation[place // 3, place % 3] = bad
    assert np.isnan(matrix_to_quaternion(rotation)).any()
    assert np.isnan(rotation_log(rotation)).any()
    vector = np.array([0.1, 0.2, 0.3])
    vector[place % 3] = bad
    assert np.isnan(rotation_exp(vector)).any()
