"""The server of a policy: that it is there, and what it learned, against the cell."""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ate_bringup.doctor.checkpoint import chunk_findings, compare_training, mode_findings
from ate_bringup.doctor.finding import Patient
from ate_core.contract import parse_cell_text
from ate_core.errors import LinkError
from ate_core.findings import Finding, failed, passed, warned
from ate_core.trained_for import robot_findings


def look_at_policy_server(patient: Patient) -> Iterator[Finding]:
    """It answers, and serves a policy for this cell whose starts are not those of the rollouts."""
    if not patient.policy_server:
        return
    what = f"policy server {patient.policy_server}"
    if importlib.util.find_spec("ate_policy") is None:
        yield warned(what, "was not asked, ate_policy is not here", "install ate_policy")
        return
    greeting = importlib.import_module("ate_policy.remote.greeting")
    try:
        hello: dict[str, Any] = greeting.hear(patient.policy_server, patient.policy_token)
    except LinkError as error:
        yield failed("policy_server", str(error), "start `ate serve` there, or mend the address")
        return
    if "format" in hello and patient.policy_keys:
        remedy = "leave out policy_keys:="
        yield failed(what, "tells itself what it reads and gives", remedy)
    elif "format" in hello:
        yield from _compare(patient, what, hello)
    elif patient.policy_keys:
        yield from mode_findings(patient, what, continues=False)
        yield from _keys(patient, what, hello)
        remedy = "look at its first motions with a hand on the stop"
        yield warned(what, "does not say what it was trained on: nothing is compared", remedy)
    else:
        yield failed(
            what,
            "does not say which cell its policy was trained for",
            "serve a checkpoint with `ate serve`, or give policy_keys:=FILE for one of openpi",
        )


def _compare(patient: Patient, what: str, hello: dict[str, Any]) -> Iterator[Finding]:
    text = str(hello.get("contract", ""))
    contract = parse_cell_text(text, f"the contract of {what}")
    if differing := robot_findings(contract, patient.cell, what):
        yield from differing
        return
    yield passed(what, f"{hello.get('kind')}, trained for this layout")
    parts = (hello.get("config"), hello.get("statistics"), hello.get("training"))
    yield from compare_training(patient, text, what, *parts)
    yield from mode_findings(patient, what, continues=bool(hello.get("continues")))


def _keys(patient: Patient, what: str, hello: dict[str, Any]) -> Iterator[Finding]:
    """What a file says that the server reads and gives, against the cell.

    Raises:
        UsageError: it cannot be read.
        LayoutError: something of it does not fit.
    """
    foreign = importlib.import_module("ate_policy.remote.foreign")
    keys = foreign.ForeignKeys.read(Path(patient.policy_keys))
    foreign.ForeignDialect(keys, hello, what, patient.cell)
    yield from chunk_findings(patient, keys.horizon)
