"""Kill and stall every process of the simulated teleoperation cell in motion, one by one.

    python -m benchmarks.kill_matrix                            # all: about six minutes
    python -m benchmarks.kill_matrix --only operator scene      # some
    python -m benchmarks.kill_matrix --stalls 0.03 0.1 0.5 2.0  # how long a process stands still
    python -m benchmarks.kill_matrix --stalls 12                # hangs: the monitor replaces it

Per case: how long the arms took to rest; from the event on, by how much set points and true joints
were ahead of the speed limit, and the fastest joint speed and acceleration of the world; and when
the arms move again. The exit code is 1 when a case is not as `PROCESSES` expects it.
"""

import json
import math
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil
import tyro

from ate_core.contract import load_cell
from benchmarks.live_cell import (
    DEPLOY,
    TELEOP,
    WINDOW,
    LaunchedCell,
    WorldTrace,
    own_surroundings,
    write_cell,
)
from benchmarks.restless_policy import save_restless_policy

BOUND = 0.2
"""An arm without its command path must be at rest after so long [s]."""
LARGEST_LEAD = 0.1
"""By how much set points may be ahead of the speed limit [s]: as late as a busy machine delivers
them. Link and controller let 30 ms pass each, the rest is their own. More is a jump."""
WORLD_LEAD = 0.15
"""Likewise for the true joints: servos swing [s]."""
KILL = 0.0
"""Length of a stall that stands for SIGKILL [s]."""
STALL = 1.2
"""Usual length of a stall [s]."""
HANG = 4.0
"""A process that stands still for longer is killed by the monitor and started again [s]."""
REACTION = 0.15
"""No person has pressed anything anew so soon after a process goes on [s]."""
AFTERWARDS = 3.0
"""The motion is looked at for so long after a process goes on, or was killed [s]."""
ENDED = 10.0
"""Longest wait for the end of a launch [s]."""
AGAIN = 60.0
"""Longest wait until an arm moves again: people give up an episode and begin the next [s]."""

BUSY = 0.03
"""A controller whose set point was so far ahead of the limit was kept waiting by the machine [s]:
it catches up as fast as its joints can, and brakes from there for longer than an arm may need."""
TRIES = 3
"""So often a case is tried that was late on a busy machine."""

LEFT, BOTH, NONE = ("left",), ("left", "right"), ()


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A process, and what is expected when it is killed or stands still."""

    words: tuple[str, ...]
    """Words of its command line."""
    arms: tuple[str, ...] = NONE
    """Arms whose commands or states pass through it: they come to rest."""
    is_child: bool = False
    """Whether it is the child of the process with these words."""
    deployed: bool = False
    """Whether it is a process of a deployed policy, not of teleoperation."""
    ends: bool = False
    """Whether the launch ends when it is killed."""
    waits: bool = False
    """Whether somebody must act anew before an arm moves after a stall."""
    killed: str = "was killed by SIGKILL.*starting it again"
    """What is told when it is killed."""
    stalled: str = ""
    """What is told when it stands still; empty: nothing, for nobody waits for it so soon."""


_LEFT_DRIVER = ("realman_driver.nodes.driver_node", "__ns:=/left")
_ENDS = "was killed by SIGKILL.*stopping the launch"
PROCESSES = {
    "operator": Expected(
        words=("ate_teleop.nodes.operator_node", "__ns:=/left"),
        arms=LEFT,
        waits=True,
        stalled="left.arm_driver.*"
        "(no fresh command of teleop|teleop lets it hold|the home button was released)",
    ),
    "arm driver": Expected(
        words=_LEFT_DRIVER,
        arms=LEFT,
        stalled="link stopped arm .* by itself: the driver was silent",
    ),
    "link": Expected(
        words=_LEFT_DRIVER,
        arms=LEFT,
        is_child=True,
        killed="link process of arm .*: started again",
        stalled="link process of arm .*: started again|link stopped arm .*: the link stood still",
    ),
    "arm emulator": Expected(
        words=("realman_driver.emulator", "left"),
        arms=LEFT,
        stalled="measured joints older than 100 ms",
    ),
    "people": Expected(
        words=("ate_sim.people.operators",),
        arms=BOTH,
        ends=True,
        waits=True,
        killed=_ENDS,
        stalled="waiting for headset",
    ),
    "world": Expected(  # the arms are in it: where it stands, so do they
        words=("ate_sim.realtime.world",),
        ends=True,
        killed=_ENDS,
        stalled="measured joints older than 100 ms",
    ),
    "policy": Expected(
        words=("ate_policy.nodes.policy_node",),
        arms=BOTH,
        deployed=True,
        ends=True,
        waits=True,
        killed=_ENDS,
        stalled="no fresh command of policy",
    ),
    "rollouts": Expected(
        words=("ate_sim.nodes.rollouts",), deployed=True, ends=True, killed=_ENDS
    ),
    "gripper driver": Expected(words=("omnipicker_driver.nodes.gripper_node", "__ns:=/left")),
    "gripper emulator": Expected(words=("omnipicker_driver.emulator", "left")),
    "renderer": Expected(words=("ate_sim.realtime.renderer",)),
    "scene": Expected(words=("ate_sim.nodes.scene_node",)),
    "camera": Expected(words=("realsense_camera.nodes.camera_node", "__node:=camera_overhead")),
    "recorder": Expected(words=("ate_recorder.nodes.recorder_node",)),
    "estop": Expected(words=("cell_monitor.nodes.estop_node",)),
    "monitor": Expected(words=("cell_monitor.nodes.monitor_node",)),
}
"""Every process of the cell; of those that are there twice, the left one."""


@dataclass(frozen=True, kw_only=True)
class MatrixConfig:
    """Which cases to run."""

    only: tuple[str, ...] = tuple(PROCESSES)
    """Names of processes; two joined by + are stalled at once."""
    stalls: tuple[float, ...] = (KILL, STALL)
    """How long each stands still [s]; 0: it is killed."""
    bound: float = BOUND
    """An arm without its command path is at rest after so long [s]."""
    json: Path | None = None
    """File for the results, one line per case."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Processes to stop at once, and for how long."""

    names: tuple[str, ...]
    """Of `PROCESSES`."""
    stall: float
    """How long [s]; 0: killed."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that come to rest."""
        return max((PROCESSES[name].arms for name in self.names), key=len)

    @property
    def deployed(self) -> bool:
        """Whether a policy moves the arms, not operators."""
        return any(PROCESSES[name].deployed for name in self.names)

    @property
    def ends(self) -> bool:
        """Whether the launch ends."""
        return self.stall == KILL and any(PROCESSES[name].ends for name in self.names)

    @property
    def waits(self) -> bool:
        """Whether somebody must act anew after it; whoever hangs is replaced before."""
        return KILL < self.stall < HANG and any(PROCESSES[name].waits for name in self.names)

    @property
    def is_long(self) -> bool:
        """Whether everybody must notice it; a shorter stall may be over before."""
        return self.stall == KILL or self.stall >= 0.5

    def tells(self, name: str) -> str:
        """What is told of a process; empty: nothing, or it went with who would tell it."""
        if len(self.names) > 1 or not self.is_long:
            return ""
        expected = PROCESSES[name]
        if self.stall < HANG:
            return expected.killed if self.stall == KILL else expected.stalled
        return f"{expected.stalled}|hangs|went silent" if expected.stalled else ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a case did."""

    process: str
    """Who was stopped."""
    stall: float
    """For how long [s]; 0: killed."""
    rest: dict[str, float] = field(default_factory=dict)
    """Time until each arm was at rest [s]."""
    goes_on: dict[str, float] = field(default_factory=dict)
    """Time from the end of a stall until each of these arms moves [s]."""
    lead: float = 0.0
    """By how much the set point of either arm was ahead of the speed limit from then on [s]."""
    world_lead: float = 0.0
    """Likewise of the true joints [s]."""
    speed: float = 0.0
    """Largest joint speed of either arm in the world from the event on [rad/s]."""
    acceleration: float = 0.0
    """Largest joint acceleration likewise [rad/s2]."""
    again: float = 0.0
    """Time from the event until the left arm moves again [s]; nan: the launch ended."""
    told: tuple[str, ...] = ()
    """Lines of the log that say something of it."""
    wrong: tuple[str, ...] = ()
    """What was not as expected."""
    tries: int = 1
    """How often it was tried: a rest that was late on a busy machine is no result."""


def main(config: MatrixConfig) -> int:
    """Run the cases and print a line for each; 1 when one is not as expected."""
    cases = [
        Case(names=tuple(names.split("+")), stall=stall)
        for names in config.only
        for stall in config.stalls
    ]
    wrong = 0
    print(
        f"{'process':24} {'signal':9} {'rest [ms]':22} ahead [ms] rad/s  rad/s2 again [s]  "
        "as expected"
    )
    with own_surroundings() as folder, Matrix(folder, config.bound) as matrix:
        for case in cases:
            result = matrix.run(case)
            print(line(result), flush=True)
            wrong += bool(result.wrong)
            if config.json is not None:
                with config.json.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
    return int(wrong > 0)


def line(result: Result) -> str:
    """One case for people."""
    rest = ", ".join(f"{side} {1e3 * time:.0f}" for side, time in result.rest.items())
    how = "SIGKILL" if result.stall == KILL else f"{1e3 * result.stall:.0f} ms"
    verdict = "; ".join(result.wrong) or "yes"
    verdict += f" (try {result.tries})" if result.tries > 1 else ""
    ahead = f"{1e3 * result.lead:4.0f} {1e3 * result.world_lead:5.0f}"
    return (
        f"{result.process:24} {how:9} {rest:22} {ahead} "
        f"{result.speed:5.2f} {result.acceleration:7.1f} {result.again:9.1f}  {verdict}"
    )


class Matrix:
    """Runs cases in one launch as long as it is well, then in the next; use it as a context."""

    def __init__(self, folder: Path, bound: float = BOUND) -> None:
        """Prepare.

        Args:
            folder: for cell files, logs and recordings.
            bound: an arm without its command path is at rest after so long [s].
        """
        self._folder, self._bound = folder, bound
        self._launch: _Launch | None = None
        self._launches = 0

    def __enter__(self) -> "Matrix":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, case: Case) -> Result:
        """Run a case, also one that was run before; again where the machine was late."""
        for tries in range(1, TRIES + 1):
            result = replace(self._try(case), tries=tries)
            if not (result.lead > BUSY and any("rests late" in wrong for wrong in result.wrong)):
                break
        return result

    def _try(self, case: Case) -> Result:
        try:
            result = self._launch_for(case).run(case, self._bound)
        except AssertionError as error:
            name = "+".join(case.names)
            result = Result(process=name, stall=case.stall, wrong=(str(error),))
        if result.wrong:
            self._close()
        return result

    def _launch_for(self, case: Case) -> "_Launch":
        if self._launch and (not self._launch.is_alive or self._launch.deployed != case.deployed):
            self._close()
        if self._launch is None:
            self._launches += 1
            place = self._folder / str(self._launches)
            place.mkdir()
            self._launch = _Launch(place, self._launches, case.deployed)
            self._launch.wait()
        return self._launch

    def _close(self) -> None:
        if self._launch is not None:
            self._launch.close()
            self._launch = None


class _Launch:
    """A launched cell whose arms move."""

    def __init__(self, folder: Path, number: int, deployed: bool) -> None:
        self.deployed = deployed
        file, words = write_cell(folder, number), ["task:=cook_bun", "episodes:=1000"]
        if deployed:
            save_restless_policy(folder / "policy", load_cell(file, "sim"))
            words = [*DEPLOY, *words, f"checkpoint:={folder / 'policy'}", "device:=cpu"]
        else:
            words = [*TELEOP, *words, f"output:={folder / 'bags'}"]
        self.cell = LaunchedCell(folder, file, words)

    def wait(self) -> None:
        """Wait until it is ready."""
        self.cell.wait_for(lambda: "READY" in self.cell.log(), "READY", 90)

    @property
    def is_alive(self) -> bool:
        """Whether the launch runs."""
        return self.cell.process.poll() is None

    def run(self, case: Case, bound: float) -> Result:
        """Stop the processes of a case in motion, and look at what follows."""
        with WorldTrace(self.cell) as trace:
            watched = case.arms or LEFT

            def moves() -> bool:
                return any(self._is_led(side) and trace.is_moving(side) for side in watched)

            victims = [self._victim(PROCESSES[name]) for name in case.names]
            self.cell.wait_for(moves, "motion", AGAIN)
            said = len(self.cell.log())
            begin = time.monotonic()
            self._stop(victims, case.stall, begin)
            self._wait(lambda: time.monotonic() > begin + case.stall + AFTERWARDS)
            result = self._look_at(case, trace, begin)
            wrong = [f"{side} rests late" for side, rest in result.rest.items() if rest > bound]
            if case.waits:
                early = [side for side, after in result.goes_on.items() if after < REACTION]
                wrong += [f"{side} goes on by itself" for side in early]
            wrong += self._recovery(case, moves)
            again = time.monotonic() - begin if self.is_alive else math.nan
        told = self.cell.log()[said:]
        for name in case.names:
            if not re.search(case.tells(name), told):
                wrong.append(f"nothing is told of {name}")
        wrong += _jumps(result)
        return replace(result, again=again, told=tuple(told.splitlines()), wrong=tuple(wrong))

    def _is_led(self, side: str) -> bool:
        """Whether an arm follows commands: not homing, which needs none of a policy."""
        states = re.findall(
            rf"\[{side}\.arm_driver\]: (tracking|homing|holding|connected)\b", self.cell.log()
        )
        return states[-1:] == ["tracking"]

    def _victim(self, expected: Expected) -> psutil.Process:
        if not expected.is_child:
            return self.cell.find(*expected.words)
        for process in self.cell.children():
            if all(word in process.cmdline() for word in expected.words):
                return process.children()[0]
        raise AssertionError(f"no process {expected.words}")

    def _stop(self, victims: Sequence[psutil.Process], stall: float, begin: float) -> None:
        for victim in victims:
            victim.send_signal(signal.SIGKILL if stall == KILL else signal.SIGSTOP)
        if stall == KILL:
            return
        while time.monotonic() < begin + stall:
            time.sleep(0.002)
        for victim in victims:
            if victim.is_running():
                victim.send_signal(signal.SIGCONT)

    def _wait(self, condition: Callable[[], object], timeout: float = AGAIN) -> bool:
        """Whether the condition came true before the launch ended or the time was up."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.is_alive or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _look_at(self, case: Case, trace: WorldTrace, begin: float) -> Result:
        """What the arms did; no rest where the world ends, or nobody must notice."""
        since, limit = begin - 2 * WINDOW, self.cell.cell.safety.max_joint_speed
        motions = {side: trace.motion(side, since) for side in BOTH}
        rests = () if case.ends or not case.is_long else case.arms
        return Result(
            process="+".join(case.names),
            stall=case.stall,
            rest={side: motions[side].rest_after(begin) for side in rests},
            goes_on={side: motions[side].rest_until(begin + case.stall) for side in rests},
            lead=max(trace.set_point_lead(side, since, limit) for side in BOTH),
            world_lead=max(motion.lead(limit) for motion in motions.values()),
            speed=max(motion.largest_speed for motion in motions.values()),
            acceleration=max(motion.largest_acceleration for motion in motions.values()),
        )

    def _recovery(self, case: Case, moves: Callable[[], bool]) -> list[str]:
        """Whether the arms move again, or the launch ends where it is to."""
        if case.ends:
            self._wait(lambda: False, ENDED)
            return ["the launch goes on"] if self.is_alive else []
        if self._wait(moves):
            return []
        return ["does not move again" if self.is_alive else "the launch ended"]

    def close(self) -> None:
        """End the launch."""
        if self.is_alive:
            self.cell.interrupt()
        self.cell.kill()


def _jumps(result: Result) -> list[str]:
    """What was faster than lateness explains."""
    return [
        *["the set point jumps"] * (result.lead > LARGEST_LEAD),
        *["the arm jumps"] * (result.world_lead > WORLD_LEAD),
    ]


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(MatrixConfig)))
