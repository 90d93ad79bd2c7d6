"""What the page may ask of the cell. Nothing else can be asked.

Every act is a service of a running node, or a text on a topic, as from a terminal; only scores of
blinded rollouts are written by the page's own node. None moves an arm but ``policy_start``, which
the policy itself refuses where it must.
"""

from dataclasses import dataclass

from ate_core.contract import Cell
from ate_core.episode_outcome import CLOSING
from ate_core.topics import ESTOP_REQUEST, ESTOP_RESET

ESTOP = "estop"
"""The emergency stop: a message, which needs no node to answer."""
SCORE = "score"
"""One key for a blinded rollout, and which rollout was shown: `s 3: start 2, policy B`."""
LABEL = "label"
"""Keeps the pending episode with a label in words."""
CLEARING = 5.0
"""How long a driver waits for its device at most [s]: 3 to be told, 2 to report no error."""
MARGIN = 5.0
"""How much longer an answer is waited for than its node may wait itself [s]."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing that may be asked."""

    words: str
    """What it does, for the page."""
    service: str = ""
    """Name of the service (std_srvs/srv/Trigger) that does it; empty: a text on a topic does."""
    topic: str = ""
    """Topic (std_msgs/msg/String) that does it; empty: the node of the page itself does."""
    timeout: float = 5.0
    """How long it may take to be answered [s]."""
    judges: bool = False
    """Whether it is about the episode that was shown when it was asked for, and no other one."""


def acts_of(cell: Cell) -> dict[str, Act]:
    """Name on the page -> what it does.

    Args:
        cell: its arms and topics.
    """
    prefix = cell.topics.episode

    def of_episode(name: str, words: str, judges: bool = False) -> Act:
        service, timeout = f"{prefix}/{name}", CLOSING + MARGIN
        return Act(service=service, words=words, timeout=timeout, judges=judges)

    acts = {
        ESTOP: Act(topic=ESTOP_REQUEST, words="stop both arms now"),
        "reset": Act(service=ESTOP_RESET, words="end the emergency stop; nothing moves by it"),
        "record": of_episode("start", "begin an episode"),
        "finish": of_episode("stop", "end the episode; it waits to be judged"),
        "keep": of_episode("keep", "keep the episode as a success", judges=True),
        "fail": of_episode("fail", "keep the episode as a failure", judges=True),
        LABEL: Act(
            topic=f"{prefix}/label",
            words="keep the episode with a label of your own",
            timeout=CLOSING + MARGIN,
            judges=True,
        ),
        "discard": of_episode("discard", "set the episode aside", judges=True),
        "save_last": of_episode("save_last", "make an episode of the last seconds"),
        "redo": of_episode("redo", "set the episode aside and begin anew", judges=True),
        SCORE: Act(words="score a blinded rollout"),
        "policy_start": Act(service="/policy/start", words="let the policy move the arms"),
        "policy_stop": Act(service="/policy/stop", words="let the policy fall silent"),
    }
    for side, arm in cell.arms.items():
        for name, words in (("enable", "accept commands again"), ("clear_errors", "clear errors")):
            service = cell.topics.of_arm(arm.namespace, f"arm/{name}")
            acts[f"{side}/{name}"] = Act(
                service=service, words=f"{side} arm: {words}", timeout=CLEARING + MARGIN
            )
    return acts
