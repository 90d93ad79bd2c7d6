"""Hears a running cell for a moment: states, rates, and who is not well."""

from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, JointState

from ate_bringup.cell_state import CellState
from ate_core.contract import Cell
from ate_core.json_text import Document
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import DEFAULT_QOS, SENSOR_QOS
from ate_core.nodes.statuses import hear_cell_statuses, hear_part_statuses
from ate_core.nodes.visitor import Visitor, visit

WELL = 0
"""Level of a line of the diagnostics where nothing is wrong."""
LONGER = 5.0
"""How much longer a cell is listened to of which some parts were not heard: on a busy machine they
are found late [s]."""


def look(cell: Cell, seconds: float) -> CellState:
    """Hear the cell for so long [s], and somewhat longer where parts of it are missing."""
    devices = tuple(f"{side} {kind}" for kind in ("arm", "gripper") for side in cell.arms)
    wanted = {f"camera {role}": float(camera.fps) for role, camera in cell.cameras.items()}
    state = CellState(devices=devices, wanted=wanted)
    with visit("ate_status") as visitor:
        _hear_states(cell, visitor, state)
        stamps = _hear_rates(cell, visitor)

        def is_whole() -> bool:
            state.rates |= {name: _rate(times) for name, times in stamps.items()}
            return bool(state.estop) and not state.unheard

        visitor.spin_until(lambda: False, seconds)
        if not is_whole() and state.is_there:
            visitor.spin_until(is_whole, LONGER)
    return state


def _hear_states(cell: Cell, visitor: Visitor, state: CellState) -> None:
    parts = {"arm": state.arms, "gripper": state.grippers, "operator": state.operators}

    def take_part(side: str, kind: str, document: Document) -> None:
        parts[kind][side] = document

    hear_part_statuses(visitor.node, cell, take_part)
    hear_cell_statuses(
        visitor.node,
        cell,
        estop=partial(setattr, state, "estop"),
        episode=partial(setattr, state, "episode"),
        policy=partial(setattr, state, "policy"),
    )

    def take_nodes(message: DiagnosticArray) -> None:
        state.nodes = {line.name: line.message for line in message.status if line.level[0] != WELL}

    listen(visitor.node, DiagnosticArray, "/diagnostics_agg", take_nodes, DEFAULT_QOS)


def _hear_rates(cell: Cell, visitor: Visitor) -> dict[str, list[float]]:
    """Stamps [s] of what comes, by the name of its stream."""
    topics, stamps = cell.topics, {}
    streams: dict[str, tuple[type, str]] = {}
    for side, arm in cell.arms.items():
        namespace = arm.namespace
        streams[f"{side}_arm"] = JointState, topics.of_arm(namespace, topics.joint_states)
        streams[f"{side}_gripper"] = JointState, topics.of_arm(namespace, topics.gripper_states)
    for role in cell.cameras:
        streams[f"camera {role}"] = CameraInfo, topics.camera_info(role)
    for name, (kind, topic) in streams.items():
        stamps[name] = times = list[float]()
        listen(visitor.node, kind, topic, partial(_count, times), SENSOR_QOS)
    return stamps


def _count(times: list[float], message: JointState | CameraInfo) -> None:
    stamp = message.header.stamp
    times.append(stamp.sec + 1e-9 * stamp.nanosec)


def _rate(times: list[float]) -> float:
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    return round((len(times) - 1) / span, 1) if span > 0.0 else 0.0
