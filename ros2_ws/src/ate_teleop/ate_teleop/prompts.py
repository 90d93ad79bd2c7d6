"""What an operator is to do next, in words, with the buttons of their own Joy-Con."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from ate_core.json_text import Document, plain_text
from ate_core.operator_buttons import BUTTON_LABELS, operator_buttons
from ate_core.policy_states import TAKEN_OVER
from ate_teleop.clutch import ClutchState
from ate_teleop.operator_status import OperatorStatus

INHERITED = "inherited"
"""State of an episode that waits since before its recorder began."""
KEEPING = "`ate episode label success`"
"""Keeps it: who starts an episode must not judge an old one by the way."""
LATEST_NS = 253_370_764_800_000_000_000
"""Beginning of the year 9999; a later stamp is none [ns]."""


def button_names(side: str, changes: Mapping[str, str]) -> dict[str, str]:
    """Action -> what people call its button on a Joy-Con of a side; none for one without."""
    return {
        action: BUTTON_LABELS[button] for action, button in operator_buttons(side, changes).items()
    }


def inherited_episode(status: Document) -> str:
    """What people call the episode that waits since before its recorder began; empty: none does.

    Args:
        status: of the recorder.
    """
    if status.get("state") != "pending" or not status.get("inherited"):
        return ""
    name, since = f"episode {plain_text(status.get('episode'))}", status.get("waits_since_ns")
    if not isinstance(since, int) or not 0 < since < LATEST_NS:
        return name
    day = datetime.fromtimestamp(since // 1_000_000_000)
    return f"{name} of {day.day} {day:%B}"


def recorder_trouble(status: Document) -> str:
    """What keeps episodes from being recorded whole; empty: nothing.

    Args:
        status: of the recorder.
    """
    lost = status.get("dropped")
    told = [plain_text(status.get("trouble") or "")]
    if lost and isinstance(lost, int):
        told.append(f"the episode lacks {lost} messages: `not_written` in its status says why")
    return "; ".join(filter(None, told))


def prompt(
    buttons: Mapping[str, str],
    status: OperatorStatus,
    episode: str,
    estop: str,
    policy: str = "",
    inherited: str = "",
    trouble: str = "",
) -> str:
    """The next thing to do, what matters most first; then what else one should know.

    Args:
        buttons: action -> name of its button.
        status: where operator, devices and arms stand.
        episode: ``idle``, ``recording`` or ``pending``; anything else: no recorder is heard.
        estop: why the cell is stopped; empty while it is not.
        policy: state of the policy; empty: none is heard.
        inherited: name of an episode that waits since before its recorder began.
        trouble: what keeps episodes from being recorded whole.
    """
    first = _needed(buttons, status, estop)
    if not first and episode == "pending" and inherited:
        first = f"{inherited} waits: {_choices(buttons, INHERITED)}"
    first = first or _wanted(buttons, status, episode, policy)
    return "; ".join([first, *_besides(status), *([f"recorder: {trouble}"] if trouble else [])])


def _needed(buttons: Mapping[str, str], status: OperatorStatus, estop: str) -> str:
    """What must be done before the arm follows; empty: nothing."""
    clutch = buttons["clutch"]
    if estop:
        return f"emergency stop: reset it with 'ate stop --reset', then hold {clutch} anew"
    if status.calibrating:
        return status.calibration
    if not status.joycon:
        return "press a button of the Joy-Con: it is silent"
    if status.arm_trouble:
        return f"look at your arm: {status.arm_trouble}"
    if not status.arm:
        return "look at your arm: it does not report its joints"
    if status.frozen:
        return f"press {buttons.get('freeze', 'freeze')} to end the freeze, then hold {clutch}"
    if status.clutch is ClutchState.BLOCKED:
        return f"let go of {clutch}, then hold it again: {status.reason}"
    if status.clutch is ClutchState.ENGAGING:
        return f"keep your hand still: {status.reason or 'the clutch engages'}"
    if status.out_of_reach:
        return "bring your hand back: the arm cannot go further"
    return ""


def _wanted(buttons: Mapping[str, str], status: OperatorStatus, episode: str, policy: str) -> str:
    """What may be done while all is well."""
    if episode == "pending":
        return f"judge the episode: {_choices(buttons, 'pending')}"
    clutch, choices = buttons["clutch"], _choices(buttons, episode)
    engaged = status.clutch is ClutchState.ENGAGED
    if policy == TAKEN_OVER and not engaged and "hand_back" in buttons:
        back = f"{buttons['hand_back']} hands back to the policy"
        choices = f"{back}, {choices}" if choices else back
    if engaged:
        moves = f"the arm follows, let go of {clutch} to pause"
    elif not status.tracked:
        moves = status.headset_trouble or "raise your hand into the view of the headset"
    else:
        moves = f"hold {clutch}, and the arm follows your hand"
    return f"{moves}; {choices}" if choices else moves


def _choices(buttons: Mapping[str, str], episode: str) -> str:
    """What the buttons do with the episode as it stands."""
    meanings: dict[str, str] = {
        "idle": {"record": "starts an episode"},
        "recording": {"record": "ends the episode", "discard": "discards it"},
        "pending": {
            "record": "keeps it",
            "fail": "keeps it as a failure",
            "discard": "discards it",
        },
        INHERITED: {"fail": "keeps it as a failure", "discard": "discards it"},
    }.get(episode, {})
    words = [
        f"{buttons[action]} {meaning}" for action, meaning in meanings.items() if action in buttons
    ]
    if episode == INHERITED:
        words.append(f"{KEEPING} keeps it as a success")
    return ", ".join(words)


def _besides(status: OperatorStatus) -> Iterator[str]:
    """What else one should know."""
    if status.battery_low:
        yield "charge the Joy-Con: its battery is low"
    if status.joycon_trouble:
        yield status.joycon_trouble
    if status.force_silent:
        yield "no force is felt: the arm tells none"
    if status.other_trouble:
        yield f"the other arm is {status.other_trouble}"
