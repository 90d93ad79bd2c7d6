"""Run checks side by side, each within its time, and count what they found."""

import threading
import time
from collections.abc import Sequence

from ate_bringup.doctor.cell_file import cell_is_right
from ate_bringup.doctor.finding import Check, CheckResult, Patient
from ate_core.errors import AteError
from ate_core.findings import Finding, failed


def visit(checks: Sequence[Check], patient: Patient) -> list[CheckResult]:
    """Run all checks side by side, those that measure first and alone; the results are in order.

    A check that hangs is left behind in its daemon thread: what can hang for ever, a device's
    library for instance, is asked in a process of its own (`ate_bringup.doctor.probes`).
    """
    if not cell_is_right(patient):  # says so itself, once
        checks = [check for check in checks if not check.needs_cell]
    results = {check.name: _Running(check, patient).result() for check in checks if check.is_alone}
    running = {check.name: _Running(check, patient) for check in checks if not check.is_alone}
    results |= {name: one.result() for name, one in running.items()}
    return [results[check.name] for check in checks]


def worst(results: Sequence[CheckResult]) -> str:
    """``fail``, ``warn`` or ``pass``."""
    found = {finding.status for result in results for finding in result.findings}
    return "fail" if "fail" in found else "warn" if "warn" in found else "pass"


class _Running:
    """One check in its thread."""

    def __init__(self, check: Check, patient: Patient) -> None:
        self._check = check
        self._patient = patient
        self._begin = time.monotonic()
        self._seconds = 0.0
        self._findings: list[Finding] = []
        self._thread = threading.Thread(target=self._run, name=check.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for finding in self._check.look(self._patient):
                self._findings.append(finding)
        except AteError as error:
            self._findings.append(failed(self._check.name, str(error), ""))
        except Exception as error:  # one broken check must not end the visit
            self._findings.append(
                failed(
                    self._check.name,
                    f"the check itself ended with {type(error).__name__}: {error}",
                    "report it; the other checks are not touched by it",
                )
            )
        self._seconds = time.monotonic() - self._begin

    def result(self) -> CheckResult:
        """What it has found when it ends or its time is over."""
        limit = self._check.limit
        self._thread.join(max(0.0, self._begin + limit - time.monotonic()))
        findings, seconds = list(self._findings), self._seconds
        if self._thread.is_alive():
            seconds = time.monotonic() - self._begin
            findings.append(
                failed(
                    self._check.name,
                    f"no end after {seconds:.1f} s",
                    "something it asks hangs: disk, network or a device of the system",
                    f"{limit:g} s",
                )
            )
        return CheckResult(
            check=self._check.name,
            group=self._check.group,
            findings=tuple(findings),
            seconds=round(seconds, 3),
        )
