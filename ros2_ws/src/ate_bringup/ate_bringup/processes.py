"""The processes of a cell, each list once: drivers, emulators, operators, recorder, policy.

Packages are named here and never imported. The driver of an arm names a package by convention: its
node is ``<package>.nodes.driver_node``, its emulated controller ``<package>.emulator``.
"""

import dataclasses
import importlib
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from ate_bringup.specs import ProcessSpec, find_executable, is_on
from ate_core.checkpoint_folders import named_checkpoint
from ate_core.contract import RUNTIME_VARIABLE, Cell
from ate_core.devices import ArmConfig
from ate_core.drivers import ARM_DRIVERS
from ate_core.errors import UsageError
from ate_core.operator_hands import DEVICES, REPLAY, joycon_folder

DISCOVERY_VARIABLE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""How far ROS looks for other nodes."""

RECORDER_PATIENCE = 30.0
"""Silence of a recorder that saves [s]: it waits for the disk for 20 s at most."""

logger = logging.getLogger(__name__)

Values = Mapping[str, str]
"""Argument of a launch -> its value."""


def package_folder(package: str) -> Path:
    """Folder of a package that a launch names and does not import.

    Raises:
        UsageError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"package {package} is not installed: build it, or run `make setup`")
    return Path(spec.submodule_search_locations[0])


def standin_hid_folder() -> Path:
    """Folder of the stand-in module ``hid`` through which emulated Joy-Cons are reached."""
    return package_folder("operator_devices") / "joycon_emulator" / "standin"


def operator_environment(cell: Cell, hands: str = DEVICES) -> dict[str, str]:
    """Variables of a process that reads the operators' devices, emulated or replayed ones too."""
    environment = {"GRPC_VERBOSITY": "ERROR"}  # a reset headset link is our message, not grpc's
    if cell.hardware == "sim" or hands == REPLAY:
        paths = [str(standin_hid_folder()), os.environ.get("PYTHONPATH", "")]
        environment |= {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "ATE_HID_DIR": str(joycon_folder(cell)),
        }
    return environment


def simulated_tasks() -> tuple[str, ...]:
    """Names of the tasks that can be simulated here; none without the simulated cell."""
    if importlib.util.find_spec("ate_sim") is None:
        return ()
    names: tuple[str, ...] = importlib.import_module("ate_sim.tasks").TASKS.names()
    return names


def require_simulated_task(name: str) -> None:
    """Refuse a task that the simulated cell does not know, naming those that it knows."""
    package_folder("ate_sim")
    importlib.import_module("ate_sim.tasks").TASKS.require(name)


def perturbations() -> tuple[str, ...]:
    """Words for what may differ from a usual start; none without the simulated cell."""
    if importlib.util.find_spec("ate_sim") is None:
        return ()
    return tuple(importlib.import_module("ate_sim.world.perturbations").WORDS)


def require_guidance(name: str) -> None:
    """Refuse a word that the demo cannot steer by: unknown, or a mode without an action VAE."""
    modes = importlib.import_module("training.objectives.guidance")
    modes.GUIDANCE.require(name)
    if name == modes.PLAIN:
        raise UsageError(f"guidance is {name!r}: name a mode to be compared with it, as paper")
    if not modes.reads_vae(modes.guidance_class(name)):
        raise UsageError(
            f"guidance is {name!r}, which compares with a pre-trained policy, and the demo has "
            "none: name a mode that reads an action VAE, as paper"
        )


def require_policy(name: str) -> None:
    """Refuse a network that nobody offers."""
    importlib.import_module("ate_policy.models.names").POLICIES.require(name)


def driver_package(arm: ArmConfig) -> str:
    """Package that drives an arm."""
    return ARM_DRIVERS.require(arm.driver)


def cell_parameters(values: Values) -> dict[str, str]:
    """Parameters that every node of ours takes."""
    return {"cell": _cell_argument(values["cell"]), "hardware": values["hardware"]}


def _cell_argument(cell: str) -> str:
    """The path of a cell made absolute; the name of a packaged one as it is."""
    is_path = os.sep in cell or Path(cell).suffix in (".yaml", ".yml")
    return str(Path(cell).resolve()) if is_path else cell


def device_nodes(cell: Cell, values: Values) -> list[ProcessSpec]:
    """Drivers of arms, grippers and cameras."""
    shared = cell_parameters(values)
    specs: list[ProcessSpec] = []
    for side, arm in cell.arms.items():
        specs.append(
            ProcessSpec(
                name="arm_driver",
                module=f"{driver_package(arm)}.nodes.driver_node",
                namespace=arm.namespace,
                parameters={**shared, "arm": side, "autostart": False},
                respawn=True,
                loss=f"the {side} arm holds",
                heartbeat=f"driver_node: {side} arm",
            )
        )
        specs.append(
            ProcessSpec(
                name="gripper_driver",
                module="omnipicker_driver.nodes.gripper_node",
                namespace=cell.grippers[side].namespace,
                parameters={**shared, "arm": side, "autostart": False},
                respawn=True,
                loss=f"the {side} gripper holds",
                heartbeat=f"gripper_node: {side} gripper",
            )
        )
    if is_on(values, "cameras"):
        specs += [
            ProcessSpec(
                name=f"camera_{role}",
                module="realsense_camera.nodes.camera_node",
                parameters={**shared, "role": role, "autostart": False},
                respawn=True,
                loss=f"no pictures of {role}",
                is_optional=True,
                heartbeat=f"camera_node: {role}",
            )
            for role in cell.cameras
        ]
    return specs


def estop_node(values: Values) -> list[ProcessSpec]:
    """The emergency stop."""
    return [
        ProcessSpec(
            name="estop",
            module="cell_monitor.nodes.estop_node",
            parameters=cell_parameters(values),
            respawn=True,
            loss="no reset of a stop, drivers that start wait; stops work without it",
            heartbeat="estop: state",
        )
    ]


def cockpit_node(values: Values) -> list[ProcessSpec]:
    """The page of the cell, where it is wanted."""
    if not is_on(values, "cockpit"):
        return []
    return [
        ProcessSpec(
            name="cockpit",
            module="ate_cockpit.nodes.cockpit_node",
            parameters={
                **cell_parameters(values),
                "port": int(values["cockpit_port"]),
                "score": values["cockpit_score"],
            },
            respawn=True,
            is_optional=True,
            loss="no page; the cell goes on",
            heartbeat="cockpit: page",
        )
    ]


def monitored(specs: list[ProcessSpec], following: str) -> list[ProcessSpec]:
    """The processes and what watches them from outside, activates drivers and says READY.

    Args:
        specs: all other processes of the launch.
        following: what a person does next once all is ready.
    """
    nodes = [
        {
            "name": spec.full_name,
            "heartbeat": spec.heartbeat,
            "managed": "autostart" in spec.parameters,
            "optional": spec.is_optional,
            "restarts": spec.respawn,
            "loss": spec.loss,
            **({"patience": spec.patience} if spec.patience else {}),
        }
        for spec in specs
        if spec.heartbeat
    ]
    monitor = ProcessSpec(
        name="monitor",
        module="cell_monitor.nodes.monitor_node",
        parameters={"nodes": json.dumps(nodes), "following": following},
        respawn=True,
        loss="nobody is watched, and drivers that start now stay inactive",
    )
    return [*specs, monitor]


def simulated_cell(cell: Cell, values: Values) -> list[ProcessSpec]:
    """World, renderer and the emulators of arms and grippers."""
    require_simulated_task(values["task"])
    where = _cell_arguments(values)
    perturbation = values.get("perturbation", "none")
    importlib.import_module("ate_sim.world.perturbations").parse_perturbation(perturbation)
    world = ("--task", values["task"], "--seed", values["seed"], "--perturbation", perturbation)
    specs = [_process("world", "ate_sim.realtime.world", (*where, *world), ends=True)]
    if is_on(values, "cameras") and cell.cameras:
        specs.append(
            _process(
                "renderer",
                "ate_sim.realtime.renderer",
                where,
                respawn=True,
                loss="no new pictures of any camera",
            )
        )
    for side, arm in cell.arms.items():
        side_of = ("--side", side, *where)
        for device, module in (("arm", driver_package(arm)), ("gripper", "omnipicker_driver")):
            specs.append(
                _process(
                    f"{device}_{side}",
                    f"{module}.emulator",
                    side_of,
                    respawn=True,
                    loss=f"the {side} {device} is off",
                )
            )
    specs.append(
        ProcessSpec(
            name="scene",
            module="ate_sim.nodes.scene_node",
            parameters=cell_parameters(values),
            respawn=True,
            loss="no object poses",
            heartbeat="scene: state",
        )
    )
    return specs


def _cell_arguments(values: Values) -> tuple[str, ...]:
    cell = _cell_argument(values["cell"])
    return ("--cell", cell) if cell else ()


def _process(
    name: str,
    module: str,
    arguments: tuple[str, ...],
    *,
    respawn: bool = False,
    ends: bool = False,
    loss: str = "",
) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        module=module,
        is_node=False,
        arguments=arguments,
        respawn=respawn,
        ends_launch=ends,
        loss=loss,
    )


def scripted(module: str, name: str, values: Values) -> ProcessSpec:
    """The scripted people, or the rollouts of a policy; the launch ends with the last episode."""
    arguments = [*_cell_arguments(values), "--task", values["task"]]
    arguments += ["--first-seed", values["seed"], "--episodes", values["episodes"]]
    if mistakes := values.get("mistakes", ""):
        arguments += ["--mistakes", mistakes]
    if values["report"]:
        arguments += ["--report", str(Path(values["report"]).resolve())]
    ends = int(values["episodes"]) > 0
    loss = "headsets and Joy-Cons are off"
    spec = _process(name, module, tuple(arguments), respawn=not ends, ends=ends, loss=loss)
    return dataclasses.replace(spec, finishes=ends)


def operator_nodes(cell: Cell, values: Values) -> list[ProcessSpec]:
    """Teleoperation, one node per operator; simulated, with the emulated devices in reach."""
    environment = operator_environment(cell, values["hands"])
    own = {"hands": values["hands"], "hands_record": _session_folder(values["hands_record"])}
    if values["calibrations"]:
        own["calibrations"] = str(Path(values["calibrations"]).resolve())
    elif cell.hardware == "sim" and int(values["episodes"]) > 0:
        # Scripted people face their headsets' front, whoever calibrated the cell before.
        own["calibrations"] = str(cell.runtime_path(f"calibrations-{os.getpid()}"))
    return [
        ProcessSpec(
            name="operator",
            module="ate_teleop.nodes.operator_node",
            namespace=cell.arms[operator.arm].namespace,
            parameters={**cell_parameters(values), **own, "operator": side},
            environment=environment,
            respawn=True,
            loss=f"the {side} operator drives nothing until a new press of the clutch",
            heartbeat=f"{side} operator",
        )
        for side, operator in cell.operators.items()
    ]


def _session_folder(folder: str) -> str:
    """A folder of its own for what the hands of this session do; empty where none is named."""
    if not folder:
        return ""
    return str(Path(folder).resolve() / datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


def recorder_node(values: Values) -> ProcessSpec:
    """The recorder of episodes."""
    return ProcessSpec(
        name="recorder",
        module="ate_recorder.nodes.recorder_node",
        parameters={
            **cell_parameters(values),
            "output": str(Path(values["output"]).resolve()),
            "task": values["task"],
            "instruction": values["instruction"],
            "operator": values["operator"],
            "require_images": is_on(values, "cameras"),
        },
        respawn=True,
        loss="nothing is recorded; `ate repair` recovers the open episode",
        heartbeat="recorder: state",
        patience=RECORDER_PATIENCE,
    )


def policy_node(values: Values) -> ProcessSpec:
    """The policy; the launch ends with it."""
    return ProcessSpec(
        name="policy",
        module="ate_policy.nodes.policy_node",
        parameters={
            **cell_parameters(values),
            "checkpoint": _checkpoint_path(values["checkpoint"]),
            "policy_server": values["policy_server"],
            "policy_token": _whole_path(values["policy_token"]),
            "policy_keys": _whole_path(values["policy_keys"]),
            "policy_deadline_ms": int(values["policy_deadline_ms"]),
            "instruction": values["instruction"],
            "device": values["device"],
            "precision": values["precision"],
            "chunk_mode": values["chunk_mode"],
            "execute": int(values["execute"]),
            "delay_ms": int(values["delay_ms"]),
            "approach": is_on(values, "approach"),
            "summary": _whole_path(values["summary"]),
        },
        ends_launch=True,
        heartbeat="policy: runtime",
    )


def _checkpoint_path(given: str) -> str:
    """Path of a checkpoint that is given by path or by name."""
    return str(named_checkpoint(given).resolve()) if given else ""


def _whole_path(path: str) -> str:
    return str(Path(path).resolve()) if path else ""


def viewers(cell: Cell, values: Values) -> list[ProcessSpec]:
    """What shows the cell: its description and transforms, and RViz where it is installed."""
    description = ProcessSpec(
        name="description",
        module="ate_bringup.nodes.description_node",
        parameters=cell_parameters(values),
    )
    if find_executable("rviz2", "rviz2") is None:
        logger.warning(
            "rviz2 is not installed: only the descriptions are published, for a viewer elsewhere; "
            "with ROS: apt install ros-jazzy-rviz2"
        )
        return [description]
    config = package_folder("ate_bringup") / "config" / "view.rviz"
    rviz = ProcessSpec(
        name="rviz",
        module="rviz2.rviz2",
        is_installed=True,
        arguments=("-d", str(config)),
        ends_launch=True,
        finishes=True,
    )
    return [description, rviz]


def within_simulation(cell: Cell, specs: list[ProcessSpec]) -> list[ProcessSpec]:
    """Give the processes of a simulated cell one runtime folder, and keep them to this machine.

    Its topics are those of the real cell: an arm elsewhere on the network must not hear them.
    """
    if cell.hardware != "sim":  # a real cell may name a runtime folder too, and must be heard
        return specs
    variables = {
        RUNTIME_VARIABLE: cell.runtime_dir,
        DISCOVERY_VARIABLE: os.environ.get(DISCOVERY_VARIABLE, "LOCALHOST"),
    }
    return [
        dataclasses.replace(spec, environment={**variables, **spec.environment}) for spec in specs
    ]
