"""What the arguments of a deployment must not say together. Nothing is looked at but the words."""

import re
from urllib.parse import urlsplit

from ate_bringup.processes import Values
from ate_bringup.specs import is_on
from ate_core.errors import UsageError

LONGEST_DEADLINE = 4000
"""A chunk of a server may be waited for so long [ms]; the policy's node would give it up."""
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
"""Where a network may run."""
BELONGS_TO = {"output": "record", "operator": "record", "calibrations": "operators"}
"""Arguments that say nothing without a flag."""
OF_A_SERVER = ("policy_token", "policy_keys")
"""Arguments that say nothing without a server."""
OF_THE_NETWORK = {"device": "auto", "precision": "auto"}
"""Arguments that a server decides for itself, with their defaults."""
USUAL = {"output": "runs/bags"}
"""Defaults that are not empty."""


def refuse_contradictions(values: Values) -> None:
    """Refuse arguments of a deployment that cannot be meant together, or would be ignored.

    Args:
        values: all of them, each allowed by itself.

    Raises:
        UsageError: naming them and what to give instead.
    """
    _refuse_policy(values)
    _refuse_server(values)
    if not DEVICE.fullmatch(values["device"]):
        raise UsageError(
            f"device:={values['device']} is not allowed; need auto, cpu, cuda or cuda:1"
        )
    for name, flag in BELONGS_TO.items():
        if values[name] != USUAL.get(name, "") and not is_on(values, flag):
            raise UsageError(
                f"{name}:={values[name]} says nothing without {flag}:=true: give both or neither"
            )
    _refuse_rollouts(values)


def _refuse_policy(values: Values) -> None:
    server = values["policy_server"]
    if bool(values["checkpoint"]) == bool(server):
        raise UsageError(
            "deploy has both checkpoint:= and policy_server:=: give one of them"
            if server
            else "deploy needs checkpoint:=FOLDER or policy_server:=ws://HOST:PORT"
        )


def _refuse_server(values: Values) -> None:
    server, deadline = values["policy_server"], int(values["policy_deadline_ms"])
    if server and not _is_address(server):
        raise UsageError(f"policy_server:={server} is not allowed; need ws://HOST:PORT")
    if not 0 < deadline <= LONGEST_DEADLINE:
        raise UsageError(
            f"policy_deadline_ms:={deadline} is not allowed; need 1 to {LONGEST_DEADLINE}"
        )
    if not server and any(values[name] for name in OF_A_SERVER):
        raise UsageError("policy_keys:= and policy_token:= belong to a policy_server:=: give it")
    for name, default in OF_THE_NETWORK.items():
        if server and values[name] != default:
            raise UsageError(
                f"{name}:={values[name]} is of a network that runs here: give it to `ate serve`"
            )


def _is_address(text: str) -> bool:
    """Whether a text is ws:// or wss:// with a host and a port."""
    try:
        address = urlsplit(text)
        return address.scheme in ("ws", "wss") and bool(address.hostname and address.port)
    except ValueError:  # a port that is none
        return False


def _refuse_rollouts(values: Values) -> None:
    """Rollouts are of the simulated cell, and only they are reported."""
    if values["hardware"] == "real":
        for name, none in (("perturbation", "none"), ("episodes", "0"), ("report", "")):
            if values[name] != none:
                raise UsageError(
                    f"{name}:={values[name]} is of the simulated cell: on the real one, change "
                    "light and objects by hand, score with `ate score`, and leave it out"
                )
    elif values["report"] and int(values["episodes"]) == 0:
        raise UsageError(
            f"report:={values['report']} is of scored rollouts, and episodes is 0: give "
            "episodes:=20, or leave it out"
        )
