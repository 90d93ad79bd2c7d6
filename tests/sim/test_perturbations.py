"""What may differ from a usual start: where it changes the world, and where it must not."""

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError, UsageError
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.realtime.world_host import Start, WorldHost
from ate_sim.tasks import TASKS, load_task
from ate_sim.world import engine
from ate_sim.world.distractors import APART, NAMES, ZONE, draw_distractors
from ate_sim.world.perturbations import WORDS, Perturbation, parse_perturbation
from ate_sim.world.renderer import CellRenderer
from ate_sim.world.sim_world import SimWorld


def play(env: CellEnv, seed: int, words: str) -> None:
    env.reset(seed, perturbation=parse_perturbation(words))
    player = ExpertPlayer(env, seed)
    for tick in range(player.ticks):
        env.step(player.action(tick))


def test_words_join_and_an_unknown_one_is_refused_with_the_list():
    joined = parse_perturbation("light_low+distractors")
    assert joined == Perturbation(light="low", distractors=True)
    assert parse_perturbation("none") == parse_perturbation("") == Perturbation()
    for wrong in ("dark", "light_low+dark", "light_low,distractors", "light_low+", "none+dark"):
        with pytest.raises(UsageError, match=r"use one of none, radius_3\.5cm, .*disturbance"):
            parse_perturbation(wrong)
    with pytest.raises(UsageError, match="gives two of light"):
        parse_perturbation("light_low+light_high")


@pytest.mark.parametrize("word", [word for word in WORDS if word != "radius_6.5cm"])
def test_a_perturbed_start_is_the_usual_one_of_its_seed(word):
    world = SimWorld(load_task("pick_place"))
    world.reset(3)
    usual = world.object_poses()
    world.reset(3, perturbation=parse_perturbation(word))
    assert np.array_equal(world.object_poses(), usual)


def test_the_radius_is_the_spread_of_the_starts():
    world = SimWorld(load_task("pick_place"))
    reach = {}
    for word in ("radius_3.5cm", "radius_6.5cm"):
        found = []
        for seed in range(40):
            world.reset(seed, perturbation=parse_perturbation(word))
            found.append(np.linalg.norm(world.object_pose("cube")[:2] - [0.27, 0.36]))
        reach[word] = max(found)
    assert 0.030 < reach["radius_3.5cm"] < 0.0355
    assert 0.055 < reach["radius_6.5cm"] < 0.0655


def test_an_expert_is_not_hindered_by_distractors():
    env = CellEnv("pick_place")
    play(env, 0, "distractors+light_flicker")
    assert env.success() and env.disturbed_at is None


@pytest.mark.parametrize("task", TASKS.names())
def test_distractors_keep_clear_of_every_task_and_of_each_other(task):
    scene = load_task(task)
    for seed in range(50):
        starts = scene.sample(np.random.default_rng([seed, 1]), 0.065)
        poses = draw_distractors(seed, starts)
        points = np.array([pose[:2] for pose in (*poses.values(), *starts.values())])
        for row in range(len(NAMES)):
            apart = np.linalg.norm(points - points[row], axis=1)
            assert np.sort(apart)[1] >= APART
            assert all(low <= x <= high for x, (low, high) in zip(points[row], ZONE, strict=True))


def test_what_was_moved_is_put_back_once_after_the_first_stage():
    env = CellEnv("pick_place")
    start = env.reset(0).environment[0, :2]
    play(env, 0, "disturbance")
    assert not env.success(), "an expert does not look again"
    assert env.disturbed_at is not None and env.score() >= 0.25
    assert np.linalg.norm(env.observe().environment[0, :2] - start) < 0.01
    first = env.disturbed_at
    play(env, 0, "disturbance")
    assert env.disturbed_at == first, "the same for every policy"


def test_nothing_is_put_back_where_nothing_was_moved():
    env = CellEnv("pick_place")
    state = env.reset(0, perturbation=Perturbation(disturbance=True)).state
    for _ in range(60):
        env.step(state)
    assert env.disturbed_at is None


def test_light_is_darker_brighter_or_flickers_twice_a_second():
    shine = parse_perturbation("light_flicker").brightness
    bright = [shine(t) > 1.0 for t in np.arange(0.0, 2.0, 0.125) + 0.01]
    assert bright == [True, True, False, False] * 4
    assert parse_perturbation("light_low").brightness(1.0) < 1.0 < 1.5
    assert parse_perturbation("light_high").brightness(1.0) > 1.0
    assert Perturbation().brightness(0.3) == 1.0


def test_pictures_show_the_light_and_the_things():
    try:
        engine.require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))
    world = SimWorld(load_task("pick_place"))
    renderer = CellRenderer(world)
    seen = {}
    for word in ("none", *WORDS):
        world.reset(3, perturbation=parse_perturbation(word))
        seen[word] = renderer.render("cam_high", 135, 240).astype(int)
    world.reset(3)
    assert np.array_equal(renderer.render("cam_high", 135, 240), seen["none"]), "nothing stays"
    renderer.close()
    assert seen["light_low"].mean() < 0.5 * seen["none"].mean()
    assert seen["light_high"].mean() > 1.3 * seen["none"].mean()
    changed = np.abs(seen["distractors"] - seen["none"]).max(axis=-1) > 30
    assert 50 < changed.sum() < 4000
    assert np.array_equal(seen["disturbance"], seen["none"])


def test_the_world_of_a_deployment_knows_the_words(tmp_path, monkeypatch):
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(tmp_path))
    cell = load_cell(None, "sim")
    start = Start(task="pick_place", seed=0, difficulty="normal", perturbation="light_low")
    host = WorldHost(start, cell, lambda task: SimWorld(load_task(task), cell=cell), 0.0)
    try:
        assert host.handle({"command": "state"})["perturbation"] == "light_low"
        with pytest.raises(UsageError, match="perturbation is 'dark'"):
            host.handle({"command": "reset", "perturbation": "dark"})
        for seed in (-1, 10**400, True, "4"):
            with pytest.raises(UsageError, match="seed is"):
                host.handle({"command": "reset", "seed": seed})
        told = host.handle({"command": "reset", "seed": 4})
        assert told["perturbation"] == "light_low", "as the launch said"
        told = host.handle({"command": "reset", "perturbation": "distractors"})
        assert (told["perturbation"], told["seed"]) == ("distractors", 4)
    finally:
        host.close()
