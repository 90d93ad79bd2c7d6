"""Any number of cameras, under any names: training knows them from the episodes' cell."""

import dataclasses
import json
from types import SimpleNamespace

from ate_core.contract import load_cell
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.policy import load_policy
from training import evaluate as command
from training.configs.finetune import FinetuneConfig, OptimOptions
from training.data.augmentation import cameras_on_arms
from training.evaluate import EvaluateConfig, evaluate
from training.finetune import finetune


def test_a_policy_learns_from_and_is_evaluated_with_seven_cameras(
    tmp_path, seven_cameras, write_demonstrations
):
    cell = load_cell(seven_cameras, "sim")
    episodes = write_demonstrations(
        tmp_path / "episodes", count=2, ticks=20, images=True, cell=cell, task="pick_place"
    )
    run, output = tmp_path / "run", tmp_path / "rollouts.json"
    finetune(
        FinetuneConfig(
            episodes=episodes,
            output=run,
            variant="vision",
            policy=FlowOptions(preset="tiny"),
            optim=OptimOptions(batch=8),
            steps=1,
        )
    )
    keys = load_policy(run, cell).config.cameras
    assert keys == cell.layout.cameras and len(keys) == 7 and "cam_table" in keys
    config = EvaluateConfig(
        checkpoints=(run,),
        output=output,
        cell=seven_cameras,
        episodes=1,
        limit=0.2,
        untrained=False,
        blind=False,
        video=tmp_path / "first_camera.mp4",
    )
    assert evaluate(config) == 0
    assert list(json.loads(output.read_text())["policies"]) == ["run"]
    assert config.video.stat().st_size > 0


def test_every_policy_sees_its_cameras_whoever_is_last(seven_cameras, monkeypatch):
    cell, made = load_cell(seven_cameras, "sim"), []
    monkeypatch.setattr(command, "CellEnv", lambda *_, **given: made.append(given))
    two, none = (
        SimpleNamespace(config=SimpleNamespace(cameras=cameras))
        for cameras in (cell.layout.cameras[1::-1], ())
    )
    for policies in ([two, none], [none, two]):
        command._environment("pick_place", cell, policies)
    command._environment("pick_place", cell, [none])
    assert [given.get("cameras") for given in made] == [*2 * [cell.layout.cameras[:2]], None]


def test_a_camera_moves_with_an_arm_because_of_its_mount_not_its_name(seven_cameras):
    cell = load_cell(seven_cameras, "sim")
    carried = dict(
        zip(cell.layout.cameras, cameras_on_arms(cell, cell.layout.cameras), strict=True)
    )
    on_arm = {"cam_left_wrist", "cam_right_wrist", "cam_palm"}
    assert {key for key, moves in carried.items() if moves} == on_arm
    unplaced = dataclasses.replace(
        cell,
        cameras={
            role: dataclasses.replace(camera, view=None) for role, camera in cell.cameras.items()
        },
    )
    assert cameras_on_arms(unplaced, ("cam_left_wrist", "cam_palm")) == [True, False]
