"""The state machine of a recording session, as a table without files, clocks or ROS.

An episode that was stopped is *pending*: it counts for nothing until somebody has kept it with a
label, or discarded it. Every operator, the command line and a supervisor may ask for anything at
any time; the state alone decides, so a request that comes too late changes nothing. What was kept
is set aside by no request here.

    idle --start--> recording --stop--> pending --keep--> idle
    idle --redo---> recording           pending --discard--> idle
    idle --save---> pending
                    recording --empty, discard, interrupt--> idle
                    recording --redo--> recording <--redo-- pending
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What a session is at."""

    IDLE = "idle"
    RECORDING = "recording"
    PENDING = "pending"


class Event(Enum):
    """What is asked for, or happens."""

    START = "start"
    STOP = "stop"
    """Stop an episode in which something was done."""
    EMPTY = "empty"
    """Stop an episode in which nothing was done."""
    KEEP = "keep"
    """Keep the pending episode with a label."""
    DISCARD = "discard"
    REDO = "redo"
    SAVE = "save"
    """Make an episode of what was before."""
    INTERRUPT = "interrupt"
    """Recording cannot go on."""


class Act(Enum):
    """What is done to an episode, in this order within a step."""

    CLOSE = "close"
    """Close its bag; it becomes pending."""
    MARK = "mark"
    """Close its bag as interrupted."""
    LABEL = "label"
    """Write down with which label the pending one is kept."""
    SET_ASIDE = "set aside"
    """Close its bag where it is open, and take it out of the game."""
    OPEN = "open"
    """Begin the next one."""


@dataclass(frozen=True)
class Step:
    """One entry of the table."""

    state: State
    """The state afterwards."""
    acts: tuple[Act, ...] = ()
    """What is done on the way."""
    refusal: str = ""
    """Why nothing is done, with the remedy; ``{episode}`` stands for the present one."""


_NOTHING_OPEN = "no episode is being recorded: start one first"
_NOTHING_WAITS = "no episode waits to be kept: record one first"
_OPEN = "{episode} is being recorded: stop or discard it first"
_WAITS = "{episode} waits to be judged: keep or discard it first"

STEPS: dict[tuple[State, Event], Step] = {
    (State.IDLE, Event.START): Step(State.RECORDING, (Act.OPEN,)),
    (State.IDLE, Event.STOP): Step(State.IDLE, refusal=_NOTHING_OPEN),
    (State.IDLE, Event.EMPTY): Step(State.IDLE, refusal=_NOTHING_OPEN),
    (State.IDLE, Event.KEEP): Step(State.IDLE, refusal=_NOTHING_WAITS),
    (State.IDLE, Event.DISCARD): Step(State.IDLE, refusal=_NOTHING_OPEN),
    (State.IDLE, Event.REDO): Step(State.RECORDING, (Act.OPEN,)),
    (State.IDLE, Event.SAVE): Step(State.PENDING, (Act.OPEN, Act.CLOSE)),
    (State.IDLE, Event.INTERRUPT): Step(State.IDLE),
    (State.RECORDING, Event.START): Step(State.RECORDING, refusal=_OPEN),
    (State.RECORDING, Event.STOP): Step(State.PENDING, (Act.CLOSE,)),
    (State.RECORDING, Event.EMPTY): Step(State.IDLE, (Act.SET_ASIDE,)),
    (State.RECORDING, Event.KEEP): Step(State.RECORDING, refusal=_OPEN),
    (State.RECORDING, Event.DISCARD): Step(State.IDLE, (Act.SET_ASIDE,)),
    (State.RECORDING, Event.REDO): Step(State.RECORDING, (Act.SET_ASIDE, Act.OPEN)),
    (State.RECORDING, Event.SAVE): Step(State.RECORDING, refusal=_OPEN),
    (State.RECORDING, Event.INTERRUPT): Step(State.IDLE, (Act.MARK,)),
    (State.PENDING, Event.START): Step(State.PENDING, refusal=_WAITS),
    (State.PENDING, Event.STOP): Step(State.PENDING, refusal=_WAITS),
    (State.PENDING, Event.EMPTY): Step(State.PENDING, refusal=_WAITS),
    (State.PENDING, Event.KEEP): Step(State.IDLE, (Act.LABEL,)),
    (State.PENDING, Event.DISCARD): Step(State.IDLE, (Act.SET_ASIDE,)),
    (State.PENDING, Event.REDO): Step(State.RECORDING, (Act.SET_ASIDE, Act.OPEN)),
    (State.PENDING, Event.SAVE): Step(State.PENDING, refusal=_WAITS),
    (State.PENDING, Event.INTERRUPT): Step(State.PENDING),
}
"""What each event does in each state; there is no other way from one state to another."""
