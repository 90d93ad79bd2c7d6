"""Judged policies begin at home: arms are asked to go there until they are, or say why not."""

import json
from types import SimpleNamespace

import pytest

from ate_core.errors import DeviceError

pytestmark = pytest.mark.ros


class FakeCell:
    """Two arms on a clock that only waiting moves; each needs two seconds to be at home."""

    def __init__(self, rollouts) -> None:
        self._news = rollouts.ArmNews
        self.now = 0.0
        self.arms = {side: self._news("connected", "") for side in ("left", "right")}
        self.arrives = {"left": 0.0, "right": 0.0}
        self.asked: list[tuple[str, float]] = []
        self.refusals: dict[str, str] = {}
        self.events: dict[float, object] = {}

    def go_away(self) -> None:
        self.arrives = dict.fromkeys(self.arrives, float("inf"))

    def ask_home(self, side: str) -> str:
        self.asked.append((side, self.now))
        if not self.refusals.get(side):
            self.arms[side], self.arrives[side] = self._news("homing", ""), self.now + 2.0
        return self.refusals.get(side, "")

    def break_off(self, side: str, state: str, reason: str) -> None:
        """What ends a way home: a hiccup that lasts, a driver that starts anew, a stop."""
        self.arms[side], self.arrives[side] = self._news(state, reason), float("inf")

    def away(self) -> list[str]:
        return [side for side, time in self.arrives.items() if time > self.now]

    def closed(self) -> list[str]:
        return []

    def open_grippers(self) -> None: ...

    def wait(self, duration: float) -> bool:
        self.now += duration
        for time in [time for time in self.events if time <= self.now]:
            self.events.pop(time)()
        return False


@pytest.fixture
def cell():
    from ate_sim.nodes import rollouts

    made = FakeCell(rollouts)
    made.send_home = rollouts.Rollouts(made, None, made, lambda: made.now).go_home
    made.go_away()
    return made


def test_arms_on_their_way_home_are_asked_once(cell) -> None:
    cell.send_home()
    assert [side for side, _ in cell.asked] == ["left", "right"]
    assert cell.now == pytest.approx(2.0, abs=0.1)


def test_an_arm_whose_way_home_ended_half_way_is_asked_again(cell) -> None:
    cell.events[1.0] = lambda: cell.break_off("left", "holding", "the set point glides")
    cell.events[1.4] = lambda: cell.break_off("left", "connected", "interrupted")
    cell.send_home()
    assert [side for side, _ in cell.asked].count("left") >= 2
    assert [side for side, _ in cell.asked].count("right") == 1
    assert not cell.away() and cell.now < 5.0


def test_an_arm_that_goes_on_refusing_is_given_up_with_its_reason(cell) -> None:
    cell.refusals["left"] = "the elbow passes the table at 3 mm"
    with pytest.raises(DeviceError, match="more than 30 s: the left arm: the elbow passes"):
        cell.send_home()
    assert 30.0 < cell.now < 31.0 and len(cell.asked) < 160


def test_an_arm_that_refuses_for_a_while_is_at_home_in_the_end(cell) -> None:
    cell.refusals["right"] = "policy holds the arm, home is refused"
    cell.events[0.6] = lambda: cell.refusals.clear()
    cell.send_home()
    assert not cell.away() and cell.now < 4.0


@pytest.mark.parametrize("state", ["stopped", "fault"])
def test_an_arm_that_waits_for_a_person_is_not_asked_again(cell, state: str) -> None:
    cell.events[1.0] = lambda: cell.break_off("left", state, "emergency stop: button")
    with pytest.raises(DeviceError, match=f"left arm does not go home: is {state} emergency"):
        cell.send_home()
    assert cell.now == pytest.approx(1.0, abs=0.1) and len(cell.asked) == 2


@pytest.mark.parametrize(("ready_at", "starts"), [(0.0, True), (6.0, True), (1e9, False)])
def test_a_policy_is_started_once_its_arms_are_ready(cell, ready_at, starts) -> None:
    from ate_sim.nodes import rollouts

    def call(name: str):
        told = "" if cell.now >= ready_at else "not started: left arm is not_ready inactive"
        return SimpleNamespace(success=not told, message=told)

    cell.call = call
    start = rollouts.Rollouts(cell, None, cell, lambda: cell.now)._start_policy
    if starts:
        start()
        assert cell.now == pytest.approx(ready_at, abs=1.0)
    else:
        with pytest.raises(DeviceError, match="does not start: not started: left arm is not_r"):
            start()
        assert cell.now < 17.0


@pytest.mark.parametrize(
    ("news", "ended"),
    [
        (("running", "", 11.0), None),
        (("running", "no observation: /scene/objects is 900 ms old", 19.0), None),
        (("running", "no observation: /scene/objects is 4 s old", 14.0), "aborted"),
        (("ready", "emergency stop: button", 19.9), "aborted"),
        (("ready", "", 19.9), None),
        (("stuck", "10 chunks refused in a row", 19.9), "stuck"),
        (("stuck", "of the rollout before", 9.0), None),
    ],
)
def test_what_keeps_a_policy_from_going_on_is_no_failure_of_it(news, ended) -> None:
    from ate_sim.nodes.rollouts import PolicyNews, ended_by

    outcome = ended_by(PolicyNews(*news), 10.0, 20.0)
    assert outcome == (None if ended is None else (ended, news[1]))


def interrupted(waits: list[tuple[float, float, str]]) -> tuple[float, tuple[str, str] | None]:
    """When and how a rollout of 20 s ends in which streams are missing for some time."""
    from ate_sim.nodes.rollouts import Interruptions, PolicyNews

    interruptions = Interruptions()
    for tick in range(400):
        now = 0.05 * tick
        missing = next((name for begin, end, name in waits if begin <= now < end), "")
        reason = f"no observation: {missing} is 520 ms old" if missing else ""
        ended = interruptions.look(PolicyNews("running", reason, now, missing), now)
        if ended is not None:
            return now, ended
    return 20.0, None


@pytest.mark.parametrize(
    ("waits", "when"),
    [
        ([], 20.0),
        ([(3.0, 3.5, "/scene/objects")], 20.0),
        ([(3.0, 9.0, "/scene/objects")], 4.0),
        ([(3.0, 3.6, "/scene/objects"), (9.0, 15.0, "left arm")], 9.4),
    ],
)
def test_a_rollout_in_which_streams_are_missing_for_a_second_in_all_is_aborted(waits, when):
    now, ended = interrupted(waits)
    assert now == pytest.approx(when, abs=0.11)
    if ended is not None:
        assert ended[0] == "aborted"
        assert all(name in ended[1] for *_, name in waits)


def test_chunks_that_are_refused_are_no_interruption():
    from ate_sim.nodes.rollouts import Interruptions, PolicyNews

    interruptions = Interruptions()
    news = PolicyNews("running", "chunk refused: left_q1 jumps", 0.0)
    assert not any(interruptions.look(news, 0.05 * tick) for tick in range(400))


@pytest.mark.parametrize("error", [DeviceError("the policy is gone"), KeyboardInterrupt()])
def test_a_rollout_that_is_cut_off_is_reported_as_aborted(tmp_path, error) -> None:
    from ate_sim.nodes import rollouts

    def run(task, seed, limit):
        if seed == 8:
            raise error
        return rollouts.Rollout(
            seed=seed, success=True, score=1.0, duration=3.0, outcome="success"
        )

    report = tmp_path / "report.jsonl"
    options = rollouts._parse(["--first-seed", "7", "--episodes", "3", "--report", str(report)])
    runner = SimpleNamespace(run=run, wait_for_nodes=lambda: None)
    with pytest.raises(type(error)):
        rollouts._run_all(runner, options)
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["success", "aborted"]
    assert lines[1]["reason"] == (str(error) or "the rollouts were told to stop")
