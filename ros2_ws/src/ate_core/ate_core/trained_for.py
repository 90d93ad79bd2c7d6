"""What a checkpoint was trained on, against the cell that it shall drive.

Equal layouts are not enough: cameras may be exchanged, vectors may be in degrees, the words may
be new to the network. Nothing here opens a device or a network.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ate_core.checkpoint_folders import require_sound_quantiles
from ate_core.contract import Cell, parse_cell_text, untold_kinds
from ate_core.errors import CheckpointError, LayoutError
from ate_core.findings import Finding, failed, warned
from ate_core.layout import VectorLayout

ANGLE_SLACK = 0.1
"""How far beyond a joint's limits its statistics may reach [rad]: noise and overshoot."""
RATIO_SLACK = 0.1
"""How far beyond 0 and 1 those of a gripper may reach."""
TURN = 2.0 * np.pi
"""Radians of a whole turn."""
SAME_PLACE = 0.002
"""Distance between two poses of a base that are the same [m, and of the quaternion]."""
SAME_ASPECT = 0.02
"""Largest relative difference of two aspects that are the same."""
SHOWN = 5
"""So many trained instructions are listed."""
TASKS = ", "
"""Between the tasks of demonstrations of several."""
FINE_TUNE_FIRST = "fine_tune_first"
"""Entry of the training of imported weights: why they must learn here before they drive."""
ITS_CELL = "use the cell that it was trained for, or train again"
"""Remedy where the layouts differ."""


def robot_findings(trained: Cell, cell: Cell, what: str) -> list[Finding]:
    """What makes a policy one of another robot than the cell; empty: nothing.

    Args:
        trained: the cell it was trained for.
        cell: the cell it shall drive.
        what: the checkpoint or the server, for people.
    """
    differing = cell.layout.differences(trained.layout)
    found = [failed(what, f"{line} (this cell against it)", ITS_CELL) for line in differing]
    return [*found, *_only_read(trained, cell, what)]


def require_layout(trained: Cell, cell: Cell, what: str) -> None:
    """Refuse a policy whose vectors are others than those of the cell; arguments as above.

    Raises:
        LayoutError: naming each differing field.
    """
    if lines := "; ".join(cell.layout.differences(trained.layout)):
        raise LayoutError(
            f"{what} was trained for another layout (this cell against it): {lines}: {ITS_CELL}"
        )


def require_robot(trained: Cell, cell: Cell, what: str) -> None:
    """Refuse a policy of another robot than the cell; arguments as above.

    Raises:
        LayoutError: its layout differs, or it learned from a robot that was only read from files.
    """
    require_layout(trained, cell, what)
    for finding in _only_read(trained, cell, what):
        raise LayoutError(finding.text)


def _only_read(trained: Cell, cell: Cell, what: str) -> Iterator[Finding]:
    """A robot that was only read from files, where arms are driven: its limits are not known."""
    if cell.operators and not trained.operators:
        yield failed(
            what,
            f"learned from {trained.name}, a robot that was only read from files; this cell is "
            f"{cell.name}",
            "fine-tune it on episodes of this cell first, with --init",
        )


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What a checkpoint tells of its training."""

    cell: Cell
    """Contract of the recorded cell."""
    untold: tuple[str, ...] = ()
    """Its arms and grippers of whose kind nothing was recorded, see `untold_kinds`."""
    cameras: tuple[str, ...] = ()
    """Keys of the cameras that the network reads."""
    norms: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """Statistics of at least `state` and `actions`, each with `q01` and `q99`."""
    relative: tuple[int, ...] = ()
    """Columns of the action that are differences from the state."""
    language: bool = False
    """Whether the network reads an instruction."""
    instructions: tuple[str, ...] = ()
    """Instructions of the demonstrations; empty: not recorded."""
    needs: tuple[str, ...] = ()
    """Why these weights of others must be fine-tuned before they drive; empty: they need not."""

    @staticmethod
    def read(
        contract: str,
        model: Mapping[str, Any],
        statistics: Mapping[str, Any],
        training: Mapping[str, Any],
    ) -> "TrainedOn":
        """From the parts of a checkpoint folder.

        Args:
            contract: its contract.yaml, of a cell.
            model: that part of its config.json.
            statistics: its statistics.json.
            training: that part of its config.json.

        Raises:
            CheckpointError: a part is not what it should be.
        """
        try:
            norms = {
                name: {key: [float(v) for v in statistics["norm_stats"][name][key]]
                       for key in ("q01", "q99")}
                for name in dict.fromkeys(("state", "actions", *statistics["norm_stats"]))
            }  # fmt: skip
            for name, norm in norms.items():
                require_sound_quantiles(norm["q01"], norm["q99"], f"statistics of {name}")
            return TrainedOn(
                cell=parse_cell_text(contract),
                untold=untold_kinds(contract),
                cameras=tuple(map(str, model.get("cameras", ()))),
                norms=norms,
                relative=tuple(map(int, statistics.get("relative", ()))),
                language=bool(model.get("language", False)),
                instructions=tuple(map(str, training.get("instructions", ()))),
                needs=tuple(map(str, training.get(FINE_TUNE_FIRST, ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the checkpoint's statistics or settings are damaged ({error!r}): copy it again"
            ) from None


def known_starts(training: Mapping[str, Any], starts: range) -> str:
    """Why rollouts from these starts would prove nothing; empty where none was demonstrated.

    Args:
        training: that part of a checkpoint's config.json.
        starts: seeds of the rollouts, of the task that was demonstrated.
    """
    seeds = _demonstrated(training)
    known = [seed for seed in starts if seed in seeds]
    if not known:
        return ""
    shown = ", ".join(map(str, known[:SHOWN])) + (", ..." if len(known) > SHOWN else "")
    return f"{len(known)} of {len(starts)} starts were demonstrated in training (seeds {shown})"


def free_start(training: Mapping[str, Any]) -> int:
    """The first seed beyond all that were demonstrated, a round number."""
    return 1000 * (1 + max(_demonstrated(training), default=0) // 1000)


def starts_by_task(training: Mapping[str, Any]) -> dict[str, list[int]]:
    """Seeds of the demonstrations that a policy learned from, and what it started from, by tasks.

    Args:
        training: that part of a checkpoint's config.json.
    """
    before, own = training.get("seeds_before", {}), str(training.get("task", ""))
    found = {task: _seeds(seeds) for task, seeds in before.items()}
    found[own] = found.get(own, set()) | _seeds(training.get("seeds", ()))
    return {task: sorted(seeds) for task, seeds in found.items() if seeds}


def tasks_of(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Tasks that a policy was shown; none where nobody named them.

    Args:
        training: that part of a checkpoint's config.json.
    """
    return tuple(filter(None, str(training.get("task") or "").split(TASKS)))


def objects_of(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Objects whose poses a policy was shown, in their order; none where nobody named them.

    Args:
        training: that part of a checkpoint's config.json.
    """
    return tuple(map(str, training.get("object_names") or ()))


def _demonstrated(training: Mapping[str, Any]) -> set[int]:
    """Seeds of all starts that were demonstrated in a policy's task."""
    tasks = set(tasks_of(training) or ("",))
    return {
        seed
        for shown, seeds in starts_by_task(training).items()
        if tasks & set(shown.split(TASKS))
        for seed in seeds
    }


def _seeds(values: Iterable[object]) -> set[int]:
    return {seed for seed in values if isinstance(seed, int)}


def as_trained(given: str, known: Sequence[str]) -> str:
    """The trained instruction that a given one is but for case and spaces; else the given one.

    A network reads letters, so that it would see other words than in its training.
    """
    alike = [text for text in known if _plain(text) == _plain(given)]
    return alike[0] if len(alike) == 1 else given


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def findings(trained: TrainedOn, cell: Cell, instruction: str | None = None) -> list[Finding]:
    """What would make a policy see, say or mean something else than in its training.

    Args:
        trained: what its checkpoint tells.
        cell: that it shall drive, of the same layout.
        instruction: that it is given; None: not known yet.
    """
    if no_robot := list(_only_read(trained.cell, cell, "the policy")):
        return no_robot  # nothing else of it is known well enough
    if trained.needs:
        return [
            failed(
                "imported weights",
                "; ".join(trained.needs),
                "fine-tune them on episodes of this cell first, with --init",
            )
        ]
    found = list(_bodies(trained.cell, cell, trained.cameras, TRAINING))
    found += _kinds(trained.cell, cell, TRAINING, trained.untold)
    for spread in _spreads(trained.norms, trained.relative, cell):
        found += list(_ranges(spread, cell)) or _homes(spread, cell)
    return found if instruction is None else found + list(_words(trained, instruction))


def misfits(
    norms: Mapping[str, Mapping[str, Sequence[float]]], relative: Sequence[int], cell: Cell
) -> list[Finding]:
    """Statistics that vectors of a cell cannot have: in other units, or of another robot.

    Args:
        norms: of `state` and `actions`, each with `q01` and `q99`.
        relative: columns of the action that are differences from the state.
        cell: whose vectors they shall be.
    """
    spreads = _spreads(norms, relative, cell)
    return [finding for spread in spreads for finding in _ranges(spread, cell)]


def mixed(first: Cell, other: Cell, cameras: Sequence[str], name: str) -> list[Finding]:
    """What makes episodes of two cells unlike that one network shall learn; empty: nothing.

    Args:
        first: the cell of the first episode.
        other: that of another one, of the same layout.
        cameras: keys of those that the network reads.
        name: of the first episode.
    """
    words = _Words(since=name, learned=f"{name} was recorded")
    found = [*_bodies(first, other, cameras, words), *_kinds(first, other, words)]
    told = {"fail": "train on one of them at a time, or leave it out", "warn": ""}
    return [replace(finding, remedy=told[finding.status]) for finding in found]


def unlike_start(
    trained: Cell, cell: Cell, cameras: Sequence[str], name: str, untold: Sequence[str] = ()
) -> list[Finding]:
    """What of a cell's body weights did not learn on, where they are trained on; empty: nothing.

    Args:
        trained: the cell that they learned from.
        cell: that of the episodes, of the same layout.
        cameras: keys of those that the network reads.
        name: of the weights.
        untold: arms and grippers of which their training recorded no kind, see `untold_kinds`.
    """
    if cell.operators and not trained.operators:
        value = f"{cell.name}, {name} learned from {trained.name}, that was only read from files"
        return [warned("cell", value, "")]
    words = _Words(since=f"the training of {name}", learned=f"{name} learned")
    found = [
        *_bodies(trained, cell, cameras, words),
        *_kinds(trained, cell, words, untold),
    ]
    return [replace(finding, remedy="") for finding in found]


@dataclass(frozen=True, kw_only=True)
class _Words:
    """Words for what a cell is compared with."""

    since: str
    learned: str


TRAINING = _Words(since="the training", learned="the policy learned")


def _bodies(trained: Cell, cell: Cell, cameras: Sequence[str], words: _Words) -> Iterator[Finding]:
    """What differs between the bodies of two cells."""
    yield from _rates(trained, cell, words)
    yield from _cameras(trained, cell, cameras, words)
    yield from _devices(trained, cell, words)
    yield from _places(trained, cell, words)


def _kinds(
    trained: Cell, cell: Cell, words: _Words, untold: Sequence[str] = ()
) -> Iterator[Finding]:
    """Arms of other models, and grippers that open further at the same ratio.

    Args:
        trained: a cell.
        cell: the one that is compared with it.
        words: for the former.
        untold: arms and grippers of the former of whose kind nothing was recorded.
    """
    for side in (side for side in trained.arms if side in cell.arms):
        arm, gripper = f"{side} arm", f"{side} gripper"
        model, was = cell.arms[side].model, trained.arms[side].model
        if arm in untold:
            value = f"is {model}, {words.learned} with one whose model was not recorded"
            yield warned(arm, value, "see that it is the same")
        elif model != was:
            is_moved = Path(model).name == Path(was).name  # the same file in another folder
            tell, remedy = (warned, "see that it is the same") if is_moved else (failed, ITS_CELL)
            yield tell(arm, f"is {model}, {words.learned} with {was}", remedy)
        stroke, former = cell.grippers[side].stroke_m, trained.grippers[side].stroke_m
        value = f"opens {stroke:g} m at ratio 1, {words.learned} with "
        if gripper in untold:
            yield warned(gripper, f"{value}a stroke that was not recorded", "see that it is this")
        elif stroke != former:
            yield warned(gripper, f"{value}{former:g} m", "expect it to grasp worse")


def _rates(trained: Cell, cell: Cell, words: _Words) -> Iterator[Finding]:
    if trained.tick_rate != cell.tick_rate:
        yield failed(
            "tick_rate",
            f"{cell.tick_rate:g} Hz, {words.learned} at {trained.tick_rate:g} Hz",
            "its motions would run at another speed: use the cell it was trained for",
        )
    if trained.hardware != cell.hardware:
        yield warned(
            "hardware",
            f"{cell.hardware}, {words.learned} on the {trained.hardware} cell",
            "expect it to do worse; devices were not compared",
        )


def _exchanged(trained: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Roles whose device is now what another role's was, each pair once; one way is enough."""
    told: set[frozenset[str]] = set()
    for role, device in now.items():
        former = [r for r, d in trained.items() if d == device and r != role]
        if not device or not former or trained.get(role) == device:
            continue
        pair = frozenset((role, former[0]))
        if pair not in told:
            told.add(pair)
            yield role, former[0]


def _cameras(trained: Cell, cell: Cell, keys: Sequence[str], words: _Words) -> Iterator[Finding]:
    before = {camera.key: camera for camera in trained.cameras.values()}
    now = {camera.key: camera for camera in cell.cameras.values()}
    for key in keys:
        if key not in now:
            known = ", ".join(now) or "none"
            yield failed(
                f"camera {key}",
                f"the policy looks through it, the cell has {known}",
                "add it to cameras: of the cell file, or train without it",
            )
    same_body = trained.hardware == cell.hardware
    serials = [{key: c.serial for key, c in cameras.items()} for cameras in (before, now)]
    exchanged = set(_exchanged(*serials)) if same_body else set()
    exchanged = {pair for pair in exchanged if set(pair) & set(keys)}  # of others it sees nothing
    for one, other in sorted(exchanged):
        yield failed(
            f"cameras {one} and {other}",
            f"have exchanged serials since {words.since} ({now[one].serial!r} was {other})",
            "exchange them in the cell file",
        )
    for key in keys:
        if key in before and key in now:
            size, was = (now[key].width, now[key].height), (before[key].width, before[key].height)
            yield from _pictures(key, size, was, words, same_body)
            swapped = any(key in pair for pair in exchanged)
            if same_body and not swapped and now[key].serial != before[key].serial:
                yield warned(
                    f"camera {key}",
                    f"is {now[key].serial!r}, {words.learned} with {before[key].serial!r}",
                    "see that it looks at what the other did",
                )


def _pictures(
    key: str, size: tuple[int, int], was: tuple[int, int], words: _Words, same_body: bool
) -> Iterator[Finding]:
    if abs(size[0] * was[1] / (size[1] * was[0]) - 1.0) > SAME_ASPECT:
        remedy = "another aspect shows things in another shape: set width and height as they were"
    elif same_body and size != was:
        remedy = "details differ from those it knows: set width and height as they were"
    else:
        return
    value = f"pictures of {size[0]}x{size[1]}, {words.learned} from {was[0]}x{was[1]}"
    yield warned(f"camera {key}", value, remedy)


def picture_finding(trained: TrainedOn, key: str, width: int, height: int) -> Finding | None:
    """What is odd about the size of a picture that really came; None: nothing."""
    for camera in trained.cell.cameras.values():
        if camera.key == key:
            was = (camera.width, camera.height)
            return next(_pictures(key, (width, height), was, TRAINING, same_body=False), None)
    return None


def _devices(trained: Cell, cell: Cell, words: _Words) -> Iterator[Finding]:
    if trained.hardware != cell.hardware:
        return
    kinds = {
        "arms": [{side: arm.ip for side, arm in one.arms.items()} for one in (trained, cell)],
        "grippers": [
            {side: gripper.port for side, gripper in one.grippers.items()}
            for one in (trained, cell)
        ],
    }
    for kind, (before, now) in kinds.items():
        for one, other in _exchanged(before, now):
            yield failed(
                f"{kind} {one} and {other}",
                f"have exchanged addresses since {words.since} ({now[one]} was {other})",
                "exchange them in the cell file",
            )


def _places(trained: Cell, cell: Cell, words: _Words) -> Iterator[Finding]:
    for side in trained.arms.keys() & cell.arms.keys():
        was, now = np.array(trained.arms[side].base_pose), np.array(cell.arms[side].base_pose)
        if was.shape == now.shape and np.abs(was - now).max() > SAME_PLACE:
            yield warned(
                f"{side} arm",
                f"stands at {now.round(3).tolist()}, in {words.since} at {was.round(3).tolist()}",
                "put it back, or train on episodes of this place",
            )


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """Statistics of one vector: what 98 of 100 of its values lie between."""

    name: str
    layout: VectorLayout
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    relative: list[int]
    """Columns that are differences from the state."""

    @property
    def angles(self) -> NDArray[np.bool_]:
        """Which columns are joints."""
        return np.array([unit == "rad" for unit in self.layout.units])


def _spreads(
    norms: Mapping[str, Mapping[str, Sequence[float]]], relative: Sequence[int], cell: Cell
) -> Iterator[_Spread]:
    layouts = {"state": cell.layout.state, "actions": cell.layout.action}
    for name, layout in layouts.items():
        norm = norms.get(name)
        if norm is None or len(norm["q01"]) < layout.size:
            continue
        low, high = (np.asarray(norm[key], float)[: layout.size] for key in ("q01", "q99"))
        differences = relative if name == "actions" else ()
        columns = [column for column in differences if column < layout.size]
        yield _Spread(name=name, layout=layout, low=low, high=high, relative=columns)


def _ranges(spread: _Spread, cell: Cell) -> Iterator[Finding]:
    """Statistics that the cell's vectors cannot have."""
    lower, upper = _bounds(cell, spread.name)
    span = (upper - lower)[spread.relative]  # relative to the posture: through the whole span
    lower[spread.relative], upper[spread.relative] = -span, span
    low, high, angles = spread.low, spread.high, spread.angles
    outside = (low < lower) | (high > upper)
    if not outside.any():
        return
    column = int(np.argmax(outside))
    in_degrees = (outside & angles).sum() > 1 and bool(
        ((np.radians(low) >= lower) & (np.radians(high) <= upper))[angles].all()
    )
    yield failed(
        f"statistics of {spread.name}",
        f"{spread.layout.names[column]} spans {low[column]:.3g} .. {high[column]:.3g}, the cell's "
        f"bounds are {lower[column]:.3g} .. {upper[column]:.3g} {spread.layout.units[column]}",
        "they look like degrees: train on episodes in radians"
        if in_degrees
        else "they are not of this cell: train on its episodes, or copy the checkpoint again",
    )


def _homes(spread: _Spread, cell: Cell) -> Iterator[Finding]:
    """Statistics far from where the arms stand before a rollout; its first actions are refused."""
    home = np.zeros(spread.layout.size)
    for side, arm in cell.arms.items():
        home[spread.layout.slice(f"{side}_arm")] = arm.home
    absolute = spread.angles
    absolute[spread.relative] = False
    far = absolute & (_beyond(home, spread) > cell.safety.max_step)
    if not far.any():
        return
    column = int(np.argmax(far))
    lower, upper = _bounds(cell, spread.name)
    fits = (spread.low * TURN >= lower) & (spread.high * TURN <= upper)
    fits &= _beyond(home / TURN, spread) <= cell.safety.max_step / TURN
    in_turns = far.sum() > 1 and bool(fits[absolute].all())
    tell = failed if in_turns else warned
    yield tell(
        f"statistics of {spread.name}",
        f"{spread.layout.names[column]} spans {spread.low[column]:.3g} .. "
        f"{spread.high[column]:.3g}, at home it is {home[column]:.3g} rad",
        "they look like turns: train on episodes in radians"
        if in_turns
        else "bring the arms to where its episodes began before a rollout: it has not learned the "
        "way from home",
    )


def _beyond(values: NDArray[np.float64], spread: _Spread) -> NDArray[np.float64]:
    """How far values lie outside what the statistics span."""
    return np.maximum(np.maximum(spread.low - values, values - spread.high), 0.0)


def _bounds(cell: Cell, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bound of each component that its statistics may reach."""
    layout = cell.layout.state if name == "state" else cell.layout.action
    lower, upper = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
    for column in layout.columns("ratio"):
        lower[column], upper[column] = -RATIO_SLACK, 1.0 + RATIO_SLACK
    for side, arm in cell.arms.items():
        where = layout.slice(f"{side}_arm")
        lower[where] = np.asarray(arm.joint_lower) - ANGLE_SLACK
        upper[where] = np.asarray(arm.joint_upper) + ANGLE_SLACK
    return lower, upper


def _words(trained: TrainedOn, instruction: str) -> Iterator[Finding]:
    known = trained.instructions
    instruction = as_trained(instruction, known)
    listed = ", ".join(repr(text) for text in known[:SHOWN])
    if not trained.language:
        if instruction:
            yield warned(
                f"instruction {instruction!r}",
                "this network reads no instruction",
                f"it does what it was shown{': ' + listed if listed else ''}",
            )
    elif instruction and known and instruction not in known:
        close = difflib.get_close_matches(instruction, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        yield warned(
            f"instruction {instruction!r}",
            "the policy was never trained on it",
            f"{hint}it knows {listed}{more}",
        )
    elif not instruction and len(known) > 1:
        yield failed(
            "instruction",
            f"none is given, the policy knows {len(known)}",
            f"give one of {listed}",
        )
