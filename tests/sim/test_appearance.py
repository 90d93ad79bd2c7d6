import numpy as np
import pytest

from ate_sim.embodiments import collect_fast
from ate_sim.motion_plan import ExpertConfig
from ate_sim.tasks import load_task
from ate_sim.world.appearance import USUAL, drawn_appearance
from ate_sim.world.sim_world import SimWorld

QUICK = ExpertConfig(pace=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_appearance_is_clearly_another_one(seed):
    looks = drawn_appearance(seed)
    assert looks == drawn_appearance(seed)
    for name in ("arm", "joint", "finger", "table", "floor"):
        drawn, usual = np.array(getattr(looks, name)), np.array(getattr(USUAL, name))
        assert np.abs(drawn - usual).max() >= 0.35 and drawn[3] == 1.0
    assert abs(looks.light - 1.0) >= 0.25


def test_colours_and_light_change_no_physics():
    task = load_task("pick_place")
    usual, other = SimWorld(task), SimWorld(task, looks=drawn_appearance(3))
    for world in (usual, other):
        world.step(20)
    assert np.array_equal(usual.physics_state(), other.physics_state())
    assert not np.array_equal(usual.model.geom_rgba, other.model.geom_rgba)
    ratio = other.model.light_diffuse / usual.model.light_diffuse
    np.testing.assert_allclose(ratio, drawn_appearance(3).light, rtol=1e-5)


def test_pictures_show_the_other_colours_and_motion_stays():
    [usual], [other] = (
        collect_fast(
            "pick_place", [0], cameras=("cam_high",), image_size=(18, 32), config=QUICK, **looks
        )
        for looks in ({}, {"looks": drawn_appearance(1)})
    )
    assert np.array_equal(usual.action, other.action)
    pictures = [one.images["cam_high"][0].astype(float) for one in (usual, other)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 20.0
