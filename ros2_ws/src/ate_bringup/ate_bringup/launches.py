"""The launches of the cell. Both `ros2 launch` and `ate launch` are fed from here."""

import difflib
from dataclasses import replace
from pathlib import Path

from ate_bringup import processes
from ate_bringup.deploy_words import refuse_contradictions
from ate_bringup.processes import Values
from ate_bringup.specs import Launch, LaunchArgument, Need, ProcessSpec, flag, is_on
from ate_core.contract import Cell, load_cell, require_both_arms
from ate_core.errors import UsageError
from ate_core.operator_hands import DEVICES, HANDS, REPLAY

CELL = LaunchArgument(
    name="cell", default="", description="cell.yaml or a packaged name; empty: the packaged cell"
)
HARDWARE = LaunchArgument(
    name="hardware",
    default="real",
    description="real devices, or sim: the emulated ones",
    choices=("real", "sim"),
)
COCKPIT = (
    flag("cockpit", "serve the page of the cell on http://127.0.0.1:8400/"),
    LaunchArgument(
        name="cockpit_port",
        default="8400",
        description="TCP port of the page; 0: one that is free, which the log names",
        is_count=True,
        largest=65535,
    ),
    LaunchArgument(
        name="cockpit_score",
        default="",
        description="folder of a session of `ate score`, scored by keys of the page",
    ),
)
DEVICE_ARGUMENTS = (
    CELL,
    HARDWARE,
    LaunchArgument(
        name="task",
        default="pick_place",
        description="name of the task; sim: one of " + ", ".join(processes.simulated_tasks()),
    ),
    LaunchArgument(
        name="seed", default="0", description="sim: seed of the first start", is_count=True
    ),
    flag("cameras", "run the cameras", default=True),
    *COCKPIT,
)
"""What every launch with drivers takes."""
SIMULATED = "hardware:=sim"
BY_HAND = (
    "on the real cell, change light and objects by hand, score with `ate score`, and leave it out"
)
DEVICE_NEEDS = (
    Need(names=("seed",), words=(SIMULATED,), instead="nothing is drawn on the real cell"),
    Need(names=("cockpit_port", "cockpit_score"), words=("cockpit:=true",)),
)
"""What every launch with drivers would ignore."""
EPISODE_NEEDS = (
    Need(names=("episodes", "report"), words=(SIMULATED,), instead=BY_HAND),
    Need(names=("report",), words=("episodes:=20",)),
)
"""What a launch with scripted episodes would ignore."""
ROLLOUT_SEED = replace(
    next(one for one in DEVICE_ARGUMENTS if one.name == "seed"),
    default="1000",
    description="sim: seed of the first start; what was demonstrated is refused",
)
"""Seed of a deployment; demonstrations are recorded from 0 on."""
EPISODE_ARGUMENTS = (
    LaunchArgument(
        name="episodes",
        default="0",
        description="sim: scripted episodes, then stop; 0: for ever",
        is_count=True,
    ),
    LaunchArgument(
        name="report", default="", description="sim: JSON-lines file with one line per episode"
    ),
)
"""What a launch with scripted episodes takes."""

CHUNK_ARGUMENTS = (
    LaunchArgument(
        name="chunk_mode",
        default="synchronous",
        description="which of the chunks that overlap is played: the newest, the mean of all, or "
        "the newest made to go on with the one before it (rtc, rtc_jacobian)",
        choices=("synchronous", "temporal_ensemble", "rtc", "rtc_jacobian"),
        gone=(("rtc_direct", "rtc"),),
    ),
    LaunchArgument(
        name="execute",
        default="0",
        description="actions executed of each chunk; 0: those of 0.5 s, of 0.65 s where it is "
        "synchronous",
        is_count=True,
    ),
    LaunchArgument(
        name="delay_ms",
        default="0",
        description="expected time from an observation to its chunk, until it has been measured; "
        "0: as long as the warm-up took",
        is_count=True,
    ),
    flag("approach", "go slowly to a first action that is out of reach of one step"),
)
"""How a policy's chunks are played."""

STOP_WORDS = "`ate stop` stops everything"
TELEOP_WORDS = (
    "hold the shoulder button to move an arm, press + to record; two thumb buttons at once or "
    f"{STOP_WORDS}"
)
KEYS_WORDS = f"`ate teleop-keys` moves the arms and records; {STOP_WORDS}"
PAGE_WORDS = f"the page of the cockpit moves the arms and records; {STOP_WORDS}"
DEPLOY_WORDS = (
    "`ros2 service call /policy/start std_srvs/srv/Trigger` lets the policy move the arms; "
    f"{STOP_WORDS}"
)
TAKEOVER_WORDS = "a press of the shoulder button stops the policy, the next one moves the arm"
"""What a person does once a launch is ready."""


def _load(values: Values) -> Cell:
    cell = load_cell(values["cell"] or None, values["hardware"])  # type: ignore[arg-type]
    require_both_arms(cell, "a launch")
    return cell


def _robot(values: Values) -> list[ProcessSpec]:
    cell = _load(values)
    specs = processes.monitored(_devices(cell, values), f"{STOP_WORDS}; arms accept commands")
    return processes.within_simulation(cell, specs)


def _devices(cell: Cell, values: Values) -> list[ProcessSpec]:
    emulated = processes.simulated_cell(cell, values) if values["hardware"] == "sim" else []
    drivers = processes.device_nodes(cell, values) + processes.estop_node(values)
    return emulated + drivers + processes.cockpit_node(values)


def _dual_operator(values: Values) -> list[ProcessSpec]:
    cell = _load(values)
    specs = _devices(cell, values)
    if values["hands"] == REPLAY:
        return _replayed(cell, specs, values)
    if values["hardware"] == "sim":
        specs.append(processes.scripted("ate_sim.people.operators", "people", values))
    specs += [*processes.operator_nodes(cell, values), processes.recorder_node(values)]
    is_led = values["hardware"] == "sim" and int(values["episodes"]) == 0
    led_words = PAGE_WORDS if is_on(values, "cockpit") else KEYS_WORDS
    words = led_words if is_led else TELEOP_WORDS
    words = f"{words}; episodes go to {Path(values['output']).resolve()}"
    return processes.within_simulation(cell, processes.monitored(specs, words))


def _replayed(cell: Cell, specs: list[ProcessSpec], values: Values) -> list[ProcessSpec]:
    """Nobody holds the hands, and nothing is recorded, until a replay comes."""
    if int(values["episodes"]) > 0:
        raise UsageError(
            f"hands:=replay and episodes:={values['episodes']} do not fit together: in a replay "
            "nobody demonstrates; leave one of them out"
        )
    specs += processes.operator_nodes(cell, values)
    real = " --real" if values["hardware"] == "real" else ""
    words = f"`ate teleop-replay FILE{real}` plays recorded hands; {STOP_WORDS}"
    return processes.within_simulation(cell, processes.monitored(specs, words))


def _deploy(values: Values) -> list[ProcessSpec]:
    refuse_contradictions(values)
    cell = _load(values)
    specs = _devices(cell, values)
    if values["hardware"] == "sim" and int(values["episodes"]) > 0:
        specs.append(processes.scripted("ate_sim.nodes.rollouts", "rollouts", values))
    words = DEPLOY_WORDS
    if is_on(values, "operators"):
        specs += _standing_by(cell, values)
        words = f"{TAKEOVER_WORDS}; {words}"
    if is_on(values, "record"):
        specs.append(processes.recorder_node(values))
        words = f"{words}; episodes go to {Path(values['output']).resolve()}"
    specs.append(processes.policy_node(values))
    return processes.within_simulation(cell, processes.monitored(specs, words))


def _standing_by(cell: Cell, values: Values) -> list[ProcessSpec]:
    """Operators who may take over from a policy; simulated, their hands are led."""
    hands = {**values, "hands": DEVICES, "hands_record": "", "episodes": "0", "report": ""}
    specs = processes.operator_nodes(cell, hands)
    if values["hardware"] == "sim":
        specs.insert(0, processes.scripted("ate_sim.people.operators", "people", hands))
    return specs


def _view(values: Values) -> list[ProcessSpec]:
    cell = _load(values)
    return processes.within_simulation(cell, processes.viewers(cell, values))


VIEW = Launch(
    name="view",
    package="",
    description="a look at the arms of a running cell: their descriptions, RViz where installed",
    arguments=(CELL, HARDWARE),
    make_processes=_view,
    has_devices=False,
)

ROBOT = Launch(
    name="robot",
    package="",
    description="the drivers of arms, grippers and cameras, and nothing else",
    arguments=DEVICE_ARGUMENTS,
    make_processes=_robot,
    needs=(
        *DEVICE_NEEDS,
        Need(names=("task",), words=(SIMULATED,), instead="drivers alone know no task"),
    ),
)

DUAL_OPERATOR = Launch(
    name="dual_operator",
    package="ate_teleop",
    description="two operators teleoperate the cell and record episodes",
    arguments=(
        *DEVICE_ARGUMENTS,
        *EPISODE_ARGUMENTS,
        LaunchArgument(name="output", default="runs/bags", description="folder for the bags"),
        LaunchArgument(name="instruction", default="", description="what the operators are asked"),
        LaunchArgument(name="operator", default="", description="who operates, kept in the bags"),
        LaunchArgument(
            name="mistakes",
            default="",
            description="sim: probability of each kind of mistake of the scripted people, 0.3; "
            "empty: none",
            is_share=True,
        ),
        LaunchArgument(
            name="hands",
            default=DEVICES,
            description="devices: headsets and Joy-Cons (sim: emulated); replay: those that "
            "`ate teleop-replay` plays",
            choices=HANDS,
        ),
        LaunchArgument(
            name="hands_record",
            default="",
            description="folder that gets what headsets and Joy-Cons send; empty: none",
        ),
        LaunchArgument(
            name="calibrations",
            default="",
            description="folder of the operators' calibrations; empty: the user's settings",
        ),
    ),
    make_processes=_dual_operator,
    needs=(
        *DEVICE_NEEDS,
        *EPISODE_NEEDS,
        Need(names=("mistakes",), words=(SIMULATED,), instead="people make their own"),
        Need(names=("mistakes",), words=("episodes:=20",)),
        Need(names=("task",), words=(SIMULATED, "hands:=devices")),
        Need(
            names=("output", "instruction", "operator"),
            words=("hands:=devices",),
            instead="a replay of hands is not recorded",
        ),
    ),
)

DEPLOY = Launch(
    name="deploy",
    package="ate_policy",
    description="a policy drives the cell at the tick rate",
    arguments=(
        *(ROLLOUT_SEED if one.name == "seed" else one for one in DEVICE_ARGUMENTS),
        *EPISODE_ARGUMENTS,
        LaunchArgument(
            name="perturbation",
            default="none",
            description="sim: what differs from a usual start, one of "
            f"{', '.join(processes.perturbations())} or several joined by +",
        ),
        LaunchArgument(name="checkpoint", default="", description="checkpoint folder"),
        LaunchArgument(
            name="policy_server",
            default="",
            description="ws://HOST:PORT of an `ate serve` that runs the policy instead",
        ),
        LaunchArgument(
            name="policy_token", default="", description="file with the token of that server"
        ),
        LaunchArgument(
            name="policy_keys",
            default="",
            description="file that says what a server of openpi reads and gives",
        ),
        LaunchArgument(
            name="policy_deadline_ms",
            default="800",
            description="how long a chunk of that server is waited for, 1 to 4000 [ms]",
            is_count=True,
        ),
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
        *CHUNK_ARGUMENTS,
        LaunchArgument(
            name="summary", default="", description="JSON file for the timing at the end"
        ),
        flag("operators", "run both operators' devices, so that they can take over"),
        flag("record", "run the recorder, for episodes with takeovers"),
        LaunchArgument(name="output", default="runs/bags", description="folder for the bags"),
        LaunchArgument(name="operator", default="", description="who operates, kept in the bags"),
        LaunchArgument(
            name="calibrations",
            default="",
            description="folder of the operators' calibrations; empty: the user's settings",
        ),
    ),
    make_processes=_deploy,
    needs=(
        *DEVICE_NEEDS,
        *EPISODE_NEEDS,
        Need(names=("perturbation",), words=(SIMULATED,), instead=BY_HAND),
        Need(names=("task",), words=(SIMULATED, "record:=true")),
        Need(names=("output", "operator"), words=("record:=true",)),
        Need(names=("calibrations",), words=("operators:=true",)),
    ),
)

LAUNCHES = {launch.name: launch for launch in (DUAL_OPERATOR, DEPLOY, ROBOT, VIEW)}

CELL_FILES = {"robot": ROBOT, "record": DUAL_OPERATOR, "deploy": DEPLOY, "view": VIEW}
"""Launch files of the folder ``launch/``, started by their path -> what they launch."""


def find_launch(package: str, file: str) -> Launch:
    """The launch that ``ros2 launch package file`` would start.

    Raises:
        UsageError: there is none.
    """
    for launch in LAUNCHES.values():
        if (launch.package, launch.file) == (package, file):
            return launch
    raise UsageError(f"there is no launch {package} {file}; {_known(f'{package} {file}')}")


def find_cell_launch(path: Path) -> Launch:
    """The launch that ``ros2 launch path`` would start.

    Raises:
        UsageError: there is no such file, or it is none of ours.
    """
    name = path.name.removesuffix(".launch.py")
    if not path.is_file() or name not in CELL_FILES:
        problem = "does not exist" if not path.is_file() else "is not a launch file of the cell"
        raise UsageError(f"{path} {problem}; {_known(f'launch/{path.name}')}")
    return CELL_FILES[name]


def known_launches() -> dict[str, Launch]:
    """The words behind ``ate launch`` or ``ros2 launch`` -> what they start."""
    packaged = {f"{one.package} {one.file}": one for one in LAUNCHES.values() if one.package}
    return packaged | {f"launch/{name}.launch.py": one for name, one in CELL_FILES.items()}


def _known(words: str) -> str:
    known = list(known_launches())
    close = difflib.get_close_matches(words, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"known: {'; '.join(known)}{hint}"
