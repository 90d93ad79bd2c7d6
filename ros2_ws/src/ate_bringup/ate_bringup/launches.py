"""The launches of the cell. Both `ros2 launch` and `ate launch` are fed from here."""

import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from ate_bringup.specs import Launch, LaunchArgument, ProcessSpec
from ate_core.contract import RUNTIME_VARIABLE, Cell, load_cell, require_both_arms
from ate_core.errors import UsageError

DISCOVERY_VARIABLE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""How far ROS looks for other nodes."""

CELL_ARGUMENTS = (
    LaunchArgument(name="cell", default="", description="cell.yaml; empty: the packaged one"),
    LaunchArgument(
        name="hardware",
        default="real",
        description="real devices, or sim: the emulated ones",
        choices=("real", "sim"),
    ),
    LaunchArgument(
        name="task",
        default="pick_place",
        description="name of the task; sim: one that ate_sim knows",
    ),
    LaunchArgument(
        name="seed", default="0", description="sim: seed of the first start", is_count=True
    ),
    LaunchArgument(
        name="episodes",
        default="0",
        description="sim: scripted episodes, then stop; 0: for ever",
        is_count=True,
    ),
    LaunchArgument(
        name="report", default="", description="sim: JSON-lines file with one line per episode"
    ),
    LaunchArgument(
        name="cameras", default="true", description="run the cameras", choices=("true", "false")
    ),
)


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


def _require_simulated_task(name: str) -> None:
    """Refuse a task that the simulated cell does not know; loaded only for a simulated cell."""
    package_folder("ate_sim")
    importlib.import_module("ate_sim.tasks").TASKS.require(name)


def _cell_parameters(values: Mapping[str, str]) -> dict[str, str]:
    cell = str(Path(values["cell"]).resolve()) if values["cell"] else ""
    return {"cell": cell, "hardware": values["hardware"]}


def _load(values: Mapping[str, str]) -> Cell:
    cell = load_cell(values["cell"] or None, values["hardware"])  # type: ignore[arg-type]
    require_both_arms(cell, "a launch")
    return cell


def device_nodes(cell: Cell, values: Mapping[str, str]) -> list[ProcessSpec]:
    """Drivers of arms, grippers and cameras."""
    shared = _cell_parameters(values)
    specs = []
    for side, arm in cell.arms.items():
        specs.append(
            ProcessSpec(
                name="arm_driver",
                module="realman_driver.nodes.driver_node",
                namespace=arm.namespace,
                parameters={**shared, "arm": side},
                respawn=True,
            )
        )
        specs.append(
            ProcessSpec(
                name="gripper_driver",
                module="omnipicker_driver.nodes.gripper_node",
                namespace=cell.grippers[side].namespace,
                parameters={**shared, "arm": side},
                respawn=True,
            )
        )
    if values["cameras"] == "true":
        specs += [
            ProcessSpec(
                name=f"camera_{role}",
                module="realsense_camera.nodes.camera_node",
                parameters={**shared, "role": role},
                respawn=True,
            )
            for role in cell.cameras
        ]
    return specs


def simulated_cell(cell: Cell, values: Mapping[str, str]) -> list[ProcessSpec]:
    """World, renderer and the emulators of arms and grippers."""
    _require_simulated_task(values["task"])
    where = _cell_arguments(values)
    world = ("--task", values["task"], "--seed", values["seed"])
    specs = [_process("world", "ate_sim.realtime.world", (*where, *world), ends=True)]
    if values["cameras"] == "true":
        specs.append(_process("renderer", "ate_sim.realtime.renderer", where))
    for side in cell.arms:
        side_of = ("--side", side, *where)
        specs.append(_process(f"arm_{side}", "realman_driver.emulator", side_of, respawn=True))
        specs.append(
            _process(f"gripper_{side}", "omnipicker_driver.emulator", side_of, respawn=True)
        )
    specs.append(
        ProcessSpec(
            name="scene", module="ate_sim.nodes.scene_node", parameters=_cell_parameters(values)
        )
    )
    return specs


def _cell_arguments(values: Mapping[str, str]) -> tuple[str, ...]:
    cell = _cell_parameters(values)["cell"]
    return ("--cell", cell) if cell else ()


def _process(
    name: str,
    module: str,
    arguments: tuple[str, ...],
    *,
    respawn: bool = False,
    ends: bool = False,
) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        module=module,
        is_node=False,
        arguments=arguments,
        respawn=respawn,
        ends_launch=ends,
    )


def _scripted(module: str, name: str, values: Mapping[str, str]) -> ProcessSpec:
    arguments = [*_cell_arguments(values), "--task", values["task"]]
    arguments += ["--first-seed", values["seed"], "--episodes", values["episodes"]]
    if values["report"]:
        arguments += ["--report", str(Path(values["report"]).resolve())]
    return _process(name, module, tuple(arguments), ends=int(values["episodes"]) > 0)


def _dual_operator(values: Mapping[str, str]) -> list[ProcessSpec]:
    cell = _load(values)
    shared = _cell_parameters(values)
    specs = device_nodes(cell, values)
    environment = {"GRPC_VERBOSITY": "ERROR"}  # a reset headset link is our message, not grpc's
    if values["hardware"] == "sim":
        specs = simulated_cell(cell, values) + specs
        specs.append(_scripted("ate_sim.people.operators", "people", values))
        paths = [str(standin_hid_folder()), os.environ.get("PYTHONPATH", "")]
        environment |= {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "ATE_HID_DIR": str(cell.runtime_path("hid")),
        }
    for side, operator in cell.operators.items():
        specs.append(
            ProcessSpec(
                name="operator",
                module="ate_teleop.nodes.operator_node",
                namespace=cell.arms[operator.arm].namespace,
                parameters={**shared, "operator": side},
                environment=environment,
            )
        )
    specs.append(
        ProcessSpec(
            name="recorder",
            module="ate_recorder.nodes.recorder_node",
            parameters={
                **shared,
                "output": str(Path(values["output"]).resolve()),
                "task": values["task"],
                "instruction": values["instruction"],
                "operator": values["operator"],
                "require_images": values["cameras"] == "true",
            },
        )
    )
    return _of_simulation(cell, specs)


def _deploy(values: Mapping[str, str]) -> list[ProcessSpec]:
    cell = _load(values)
    specs = device_nodes(cell, values)
    if values["hardware"] == "sim":
        specs = simulated_cell(cell, values) + specs
        if int(values["episodes"]) > 0:
            rollouts = _scripted("ate_sim.nodes.rollouts", "rollouts", values)
            specs.append(rollouts)
    specs.append(
        ProcessSpec(
            name="policy",
            module="ate_policy.nodes.policy_node",
            parameters={
                **_cell_parameters(values),
                "checkpoint": str(Path(values["checkpoint"]).resolve()),
                "instruction": values["instruction"],
                "device": values["device"],
                "precision": values["precision"],
                "summary": str(Path(values["summary"]).resolve()) if values["summary"] else "",
            },
            ends_launch=True,
        )
    )
    return _of_simulation(cell, specs)


def _of_simulation(cell: Cell, specs: list[ProcessSpec]) -> list[ProcessSpec]:
    """Give the processes of a simulated cell one runtime folder, and keep them to this machine.

    Its topics are those of the real cell: an arm elsewhere on the network must not hear them.
    """
    if not cell.runtime_dir:
        return specs
    import dataclasses

    variables = {
        RUNTIME_VARIABLE: cell.runtime_dir,
        DISCOVERY_VARIABLE: os.environ.get(DISCOVERY_VARIABLE, "LOCALHOST"),
    }
    return [
        dataclasses.replace(spec, environment={**variables, **spec.environment}) for spec in specs
    ]


DUAL_OPERATOR = Launch(
    name="dual_operator",
    package="ate_teleop",
    description="two operators teleoperate the cell and record episodes",
    arguments=(
        *CELL_ARGUMENTS,
        LaunchArgument(name="output", default="runs/bags", description="folder for the bags"),
        LaunchArgument(name="instruction", default="", description="what the operators are asked"),
        LaunchArgument(name="operator", default="", description="who operates, kept in the bags"),
    ),
    make_processes=_dual_operator,
)

DEPLOY = Launch(
    name="deploy",
    package="ate_policy",
    description="a policy drives the cell at the tick rate",
    arguments=(
        *CELL_ARGUMENTS,
        LaunchArgument(name="checkpoint", default=None, description="checkpoint folder"),
        LaunchArgument(name="instruction", default="", description="instruction for the policy"),
        LaunchArgument(
            name="device",
            default="auto",
            description="where the network runs: auto (the GPU where there is one), cpu, cuda",
        ),
        LaunchArgument(
            name="precision",
            default="auto",
            description="what it computes in; auto: bf16 for pi0 and rdt on a GPU, else fp32",
            choices=("auto", "fp32", "bf16"),
        ),
        LaunchArgument(
            name="summary", default="", description="JSON file for the timing at the end"
        ),
    ),
    make_processes=_deploy,
)

LAUNCHES = {launch.name: launch for launch in (DUAL_OPERATOR, DEPLOY)}


def find_launch(package: str, file: str) -> Launch:
    """The launch that ``ros2 launch package file`` would start.

    Raises:
        UsageError: there is none.
    """
    for launch in LAUNCHES.values():
        if launch.package == package and launch.file == file:
            return launch
    known = "; ".join(f"{launch.package} {launch.file}" for launch in LAUNCHES.values())
    raise UsageError(f"there is no launch {package} {file}; known: {known}")
