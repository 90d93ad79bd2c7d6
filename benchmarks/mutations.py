"""Take reactions to faults out of the source, one at a time, and see whether the tests notice.

    python benchmarks/mutations.py
    python benchmarks/mutations.py --only gripper

Each mutation replaces one place of one file in a copy of the tree and runs the tests that assert
the reaction there, which pass without it. A reaction that no test misses is `SURVIVED`, and the
exit code is then 1. The tree itself is never touched.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

ROOT = Path(__file__).parents[1]
COPIED = ("ros2_ws/src", "tests", "training", "benchmarks", "docs", "pyproject.toml")
SRC = "ros2_ws/src"
KILLED, SURVIVED = "killed", "SURVIVED"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One reaction, and how to take it out."""

    name: str
    """What is taken out."""
    file: str
    """Where, below ``ros2_ws/src`` or the root."""
    old: str
    """The text there; it occurs once."""
    new: str
    """What stands there instead."""
    tests: tuple[str, ...]
    """Who must notice, as pytest calls them."""
    quick: bool = False
    """Whether it is tried on every run of the tests."""

    def path(self, root: Path) -> Path:
        """The file in a tree."""
        inside = root / SRC / self.file
        return inside if inside.is_file() else root / self.file


FILTER, LEASE = "ate_core/ate_core/safety.py", "ate_core/ate_core/lease.py"
DRIVER = "arm_driver/arm_driver/driver.py"
FEEDBACK = "arm_driver/arm_driver/feedback.py"
LINK, CLIENT = "realman_driver/realman_driver/link.py", "realman_driver/realman_driver/client.py"
PROCESS = "realman_driver/realman_driver/link_process.py"
ORDERS, STATES = (
    "realman_driver/realman_driver/orders.py",
    "realman_driver/realman_driver/states.py",
)
T_SAFETY, T_CONDITIONS = "tests/core/test_safety.py", "tests/arm/test_conditions.py"
T_LINK, T_TARGETS = "tests/realman/test_link.py", "tests/realman/test_link_targets.py"

MUTATIONS = (
    Mutation(
        name="braking on a reported error",
        file=DRIVER,
        old="        if appeared:\n            self._gentle.request()",
        new="",
        tests=(
            "tests/arm/test_driver.py::"
            "test_a_fault_brakes_once_and_lasts_until_cleared_and_enabled",
        ),
    ),
    Mutation(
        name="refusal while an error is reported",
        file=DRIVER,
        old="            appeared = self._stops.set(FAULT, fault)",
        new="            appeared = True",
        tests=(
            "tests/arm/test_driver.py::"
            "test_a_fault_brakes_once_and_lasts_until_cleared_and_enabled",
        ),
    ),
    Mutation(
        name="the vendor's handle is never deleted",
        file=LINK,
        old="        self._left.set()\n",
        new="        self.orders._arm.rm_delete_robot_arm()\n        self._left.set()\n",
        tests=(f"{T_LINK}::test_the_library_is_connected_once_and_never_deleted",),
    ),
    Mutation(
        name="another controller is left as it is",
        file=LINK,
        old="        self._refuse_other(identity)\n",
        new="",
        tests=(
            "tests/realman/test_identity.py::"
            "test_a_controller_that_is_another_one_is_left_as_it_is",
        ),
    ),
    Mutation(
        name="a link that fell silent is replaced",
        file=PROCESS,
        old='                    return "fell silent"',
        new="                    heard = now",
        tests=(f"{T_LINK}::test_ended_or_frozen_link_is_replaced_within_two_seconds",),
    ),
    Mutation(
        name="a call of the library that does not return ends the link",
        file=LINK,
        old="if frame_at and now - frame_at > FRAME_TIMEOUT:",
        new="if False:",
        tests=(
            f"{T_LINK}::test_library_that_fails_in_a_thread_ends_the_process_with_a_stop_and_the_reason",
        ),
    ),
    Mutation(
        name="the old state is cleared on a new link",
        file=FEEDBACK,
        old="            self.newest = self._good = None",
        new="            pass",
        tests=(f"{T_CONDITIONS}::test_a_new_link_does_not_use_a_state_of_the_old_one",),
        quick=True,
    ),
    Mutation(
        name="no state outlives its link",
        file=CLIENT,
        old="        self._newest = self._faulty = None\n        self.link_error",
        new="        self.link_error",
        tests=(f"{T_LINK}::test_no_state_outlives_its_link",),
    ),
    Mutation(
        name="the link stops the arm of a silent node",
        file=ORDERS,
        old="if self.streaming and time.monotonic() - self._heard > NODE_SILENCE:",
        new="if False:",
        tests=(
            f"{T_LINK}::test_silent_node_makes_the_link_stop_the_arm_and_refuse_older_targets",
        ),
    ),
    Mutation(
        name="a target that waited stops the arm",
        file=ORDERS,
        old="if age > LONGEST_GAP:",
        new="if False:",
        tests=(f"{T_TARGETS}::test_target_that_waited_in_the_node_stops_the_arm",),
        quick=True,
    ),
    Mutation(
        name="a link that stood still stops the arm",
        file=ORDERS,
        old="if self.streaming and late > LONGEST_GAP and not self._pacer.missed_nothing(now):",
        new="if False:",
        tests=(
            f"{T_TARGETS}::test_stall_of_the_link_stops_the_arm_and_sends_nothing_that_waited",
        ),
        quick=True,
    ),
    Mutation(
        name="a stop of somebody else voids the targets",
        file=ORDERS,
        old="if self.stops.foreign != self._heeded:",
        new="if False:",
        tests=(f"{T_TARGETS}::test_stop_of_somebody_else_makes_the_targets_void_and_is_told",),
        quick=True,
    ),
    Mutation(
        name="the same packet again is an old state",
        file=STATES,
        old="if packet == self.packet:",
        new="if False:",
        tests=(f"{T_LINK}::test_a_packet_that_comes_again_is_no_new_state",),
    ),
    Mutation(
        name="age of a command's stamp",
        file=FILTER,
        old="if not abs(age) <= config.stamp_max_age:",
        new="if False:",
        tests=(
            f"{T_SAFETY}::test_stale_command_is_refused",
            f"{T_SAFETY}::test_command_from_the_future_is_refused",
        ),
        quick=True,
    ),
    Mutation(
        name="a repeated stamp is refused",
        file=LEASE,
        old="if stamp <= known.stamp:",
        new="if False:",
        tests=(f"{T_SAFETY}::test_repeated_stamp_is_refused_so_a_stale_target_cannot_live_on",),
    ),
    Mutation(
        name="lease",
        file=LEASE,
        old="if self.holder not in (NOBODY, commander) and not self.is_over(now):",
        new="if False:",
        tests=(f"{T_SAFETY}::test_second_commander_is_refused_while_the_first_is_alive",),
        quick=True,
    ),
    Mutation(
        name="who talked through a stop must fall silent",
        file=LEASE,
        old="            known.muted = why\n",
        new="            pass\n",
        tests=(f"{T_SAFETY}::test_a_commander_that_talked_through_a_stop_must_fall_silent_first",),
    ),
    Mutation(
        name="start from the measured joints after a reset",
        file=FILTER,
        old="        self._hold(reason)\n        self._set_point = None",
        new="        self._hold(reason)",
        tests=(f"{T_SAFETY}::test_after_a_reset_the_motion_starts_from_the_measured_joints",),
    ),
    Mutation(
        name="reset of the filter after a stop of the device",
        file=DRIVER,
        old="        self._device_stops += 1\n        self._begin_anew = True",
        new="        self._device_stops += 1",
        tests=(
            f"{T_CONDITIONS}::"
            "test_an_arm_that_slid_on_in_an_emergency_stop_starts_from_where_it_is",
        ),
    ),
    Mutation(
        name="timeout of the feedback",
        file=FEEDBACK,
        old="return sample if now - sample.received <= self._timeout else None",
        new="return sample",
        tests=(f"{T_CONDITIONS}::test_a_state_that_ages_makes_the_arm_hold_in_time",),
    ),
    Mutation(
        name="joints that are missing count as missing",
        file=FILTER,
        old="        if measured is None:\n            return None",
        new="        if measured is None:\n            return self._measured",
        tests=(
            f"{T_SAFETY}::test_missing_feedback_is_braked_and_resuming_ramps_from_the_set_point",
        ),
    ),
    Mutation(
        name="timeout of commands",
        file=FILTER,
        old="if self._playback is not None and not silence < timeout:",
        new="if False:",
        tests=(f"{T_SAFETY}::test_silence_makes_the_arm_brake_and_hold_within_its_timeout",),
    ),
    Mutation(
        name="jump of a target",
        file=FILTER,
        old="        if step[joint] <= self._config.max_step:",
        new="        if True:",
        tests=(f"{T_SAFETY}::test_jump_is_refused_and_the_arm_holds",),
    ),
    Mutation(
        name="guard",
        file=FILTER,
        old="            wanted = self._within_speed(verdict.velocity)",
        new="            pass",
        tests=(
            f"{T_SAFETY}::test_a_guard_slows_the_arm_and_its_reason_is_told",
            "tests/core/test_guard.py::"
            "test_two_arms_driven_at_each_other_stop_at_the_guard_distance_and_say_why",
        ),
    ),
    Mutation(
        name="another arm that was never heard may be anywhere",
        file="ate_core/ate_core/guard/other_arm.py",
        old="                growth=FAR,",
        new="                growth=0.0,",
        tests=(
            "tests/core/test_guard.py::test_an_arm_never_heard_of_may_be_anywhere_it_can_reach",
        ),
    ),
    Mutation(
        name="another arm brakes as if its jerk were free",
        file="ate_core/ate_core/guard/other_arm.py",
        old="rest(motion, self._acceleration, self._jerk)",
        new="rest(motion, self._acceleration, 1e9)",
        tests=(
            "tests/core/test_guard.py::"
            "test_arms_that_brake_gently_keep_their_distances_from_each_other",
            "tests/core/test_guard.py::test_the_other_arm_is_expected_where_its_jerk_lets_it_rest",
        ),
    ),
    Mutation(
        name="another arm that fell silent may go on",
        file="ate_core/ate_core/guard/other_arm.py",
        old="        growth = self._point_speed * min(max(silence, 0.0), FAR)",
        new="        growth = 0.0",
        tests=(
            "tests/core/test_guard.py::"
            "test_an_arm_that_falls_silent_is_kept_away_from_more_and_more",
        ),
    ),
    Mutation(
        name="the emergency stop outlasts every other release",
        file="ate_core/ate_core/stop_latch.py",
        old="self._reasons.pop(cause, None) is not None",
        new="self._reasons.clear() is None",
        tests=(f"{T_CONDITIONS}::test_an_emergency_stop_outlasts_every_other_release",),
    ),
    Mutation(
        name="arm/enable tells of the emergency stop",
        file=DRIVER,
        old="            if estop:\n",
        new="            if False:\n",
        tests=(f"{T_CONDITIONS}::test_an_emergency_stop_outlasts_every_other_release",),
    ),
    Mutation(
        name="only a reset ends the emergency stop of a node",
        file="ate_core/ate_core/nodes/estop.py",
        old="        if self.reason and is_reset:",
        new="        if self.reason and not stopped:",
        tests=(
            "tests/monitor/test_estop.py::"
            "test_only_a_reset_of_the_same_stop_node_ends_the_stop_of_a_node",
        ),
    ),
    Mutation(
        name="doubt of a state",
        file=FEEDBACK,
        old="        if self.doubt:\n            return None",
        new='        self.doubt = ""',
        tests=(f"{T_CONDITIONS}::test_a_false_state_is_named_not_published_and_the_arm_holds",),
    ),
    Mutation(
        name="hand guiding is an obstacle",
        file=DRIVER,
        old="        return current.obstacle\n",
        new='        return ""\n',
        tests=(f"{T_CONDITIONS}::test_an_obstacle_is_named_refuses_commands_and_needs_enable",),
    ),
    Mutation(
        name="arm/enable is needed after hand guiding",
        file=DRIVER,
        old="            if current.obstacle and active and self._was_ready:",
        new="            if False:",
        tests=(f"{T_CONDITIONS}::test_an_obstacle_is_named_refuses_commands_and_needs_enable",),
    ),
    Mutation(
        name="a camera is opened again whatever its library raises",
        file="realsense_camera/realsense_camera/stream.py",
        old="        except Exception as error:",
        new="        except OSError as error:",
        tests=(
            "tests/camera/test_camera_stream.py::"
            "test_camera_is_opened_again_whatever_its_library_raises",
        ),
    ),
    Mutation(
        name="a picture that cannot be encoded does not end the encoder",
        file="realsense_camera/realsense_camera/encoder.py",
        old="            except Exception:  # one picture",
        new="            except OSError:  # one picture",
        tests=(
            "tests/camera/test_camera_encoder.py::"
            "test_picture_that_cannot_be_published_does_not_end_the_encoder",
        ),
    ),
    Mutation(
        name="the gripper holds on an emergency stop",
        file="omnipicker_driver/omnipicker_driver/driver.py",
        old="        if self._gate.stop(cause, reason):\n            self._port.hold()",
        new="        self._gate.stop(cause, reason)",
        tests=(
            "tests/gripper/test_gripper_driver.py::"
            "test_stop_never_opens_the_fingers_and_ends_their_motion",
        ),
    ),
    Mutation(
        name="the gripper refuses during a stop",
        file="omnipicker_driver/omnipicker_driver/gate.py",
        old="if self._stops.is_set else obstacle",
        new="if False else obstacle",
        tests=(
            "tests/gripper/test_gripper_gate.py::"
            "test_stream_that_went_on_through_a_stop_must_fall_silent_first",
        ),
    ),
    Mutation(
        name="a hand that does not change is lost",
        file="operator_devices/operator_devices/hand_pose.py",
        old="return self.moved_ns is not None and now_ns - self.moved_ns <= limit * 1e9",
        new="return True",
        tests=(
            "tests/devices/test_hand_tracker.py::"
            "test_an_unchanged_wrist_is_lost_after_a_tenth_of_a_second",
        ),
    ),
    Mutation(
        name="a chunk that is not finite is refused",
        file="ate_policy/ate_policy/chunk_check.py",
        old="        if not np.isfinite(chunk).all():",
        new="        if False:",
        tests=("tests/policy/test_runtime.py::test_a_bad_chunk_is_refused_by_name",),
    ),
    Mutation(
        name="a late chunk starts with the action that is due",
        file="ate_policy/ate_policy/chunking.py",
        old="        return tick - observed - 1 - self",
        new="        return tick - observed - 2 - self",
        tests=(
            "tests/policy/test_chunking.py::test_a_late_chunk_starts_with_the_action_that_is_due",
        ),
    ),
    Mutation(
        name="a checkpoint of another layout is refused",
        file="ate_core/ate_core/trained_for.py",
        old='if lines := "; ".join(cell.layout.differences(trained.layout)):',
        new='if lines := "":',
        tests=(
            "tests/policy/test_checkpoint.py::"
            "test_a_cell_with_another_layout_is_refused_by_field_name",
        ),
    ),
    Mutation(
        name="commands are ordered without the wall clock",
        file=LEASE,
        old="mark.made_ns == known.mark.made_ns",
        new="mark.made_ns <= (known.mark.made_ns or 0)",
        tests=(
            "tests/gripper/test_gripper_driver.py::"
            "test_wall_clock_that_is_set_costs_one_command_and_moves_nothing",
        ),
    ),
    Mutation(
        name="a silent Joy-Con is released",
        file="operator_devices/operator_devices/joycon.py",
        old="return state.released() if age > self._config.stale_limit else state",
        new="return state",
        tests=(
            "tests/devices/test_joycon.py::"
            "test_a_silent_controller_is_released_within_the_stale_limit",
        ),
    ),
    Mutation(
        name="a stream of pictures that stays away opens the camera again",
        file="realsense_camera/realsense_camera/stream.py",
        old="            if silence > allowed:",
        new="            if False:",
        tests=("tests/camera/test_camera_stream.py::test_silent_camera_is_opened_again",),
    ),
    Mutation(
        name="a file that is replaced is written beside its name",
        file="ate_core/ate_core/files.py",
        old="    temporary = path.with_name(_prefix(path) + own + _SUFFIX)",
        new="    temporary = path",
        tests=(
            "tests/core/test_files.py::"
            "test_an_interrupted_writer_leaves_the_old_file_and_no_litter",
        ),
    ),
    Mutation(
        name="a loss that is not finite ends training",
        file="training/finetune.py",
        old="            if not torch.isfinite(loss):",
        new="            if False:",
        tests=(
            "tests/train/test_finetune.py::"
            "test_a_loss_that_is_not_finite_stops_and_spares_the_checkpoint",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class MutationConfig:
    """Take reactions out, one at a time."""

    only: str = ""
    """Only mutations whose name contains this."""
    quick: bool = False
    """Only those of pure modules that every run of the tests tries."""
    timeout: float = 60.0
    """Longest time of one run of tests [s]; one that hangs has noticed."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the tests said to one mutation."""

    mutation: Mutation
    """What was taken out."""
    verdict: str
    """``killed`` or ``SURVIVED``."""


class MutantTree:
    """A copy of the source in which mutations are tried."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need into an empty folder."""
        self._folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "runs", "build")
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy2(source, target)
        find = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]
        where = find["packages"]["find"]["where"]
        paths = [str(folder / path) for path in where]
        inherited = os.environ.get("PYTHONPATH")
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])]),
            "ROS_DOMAIN_ID": str(101 + os.getpid() % 100),
        }
        self._writes = 0
        self._check_imports()

    def passes(self, tests: Iterable[str], timeout: float) -> bool:
        """Whether the tests pass in the copy as it is.

        Raises:
            RuntimeError: pytest could not run them.
        """
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        try:
            run = subprocess.run(
                [*command, "--reruns=0", *tests],
                cwd=self._folder,
                env=self._environment,
                timeout=timeout,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return False
        if run.returncode not in (0, 1):
            raise RuntimeError(f"pytest gave {run.returncode}:\n{run.stdout}{run.stderr}")
        self.last_output = run.stdout
        return run.returncode == 0

    def survives(self, mutation: Mutation, timeout: float) -> bool:
        """Whether the tests of a mutation pass with it."""
        path = mutation.path(self._folder)
        before = path.read_text()
        if before.count(mutation.old) != 1:
            raise RuntimeError(
                f"{mutation.name}: its text occurs {before.count(mutation.old)} times in "
                f"{mutation.file}, need 1"
            )
        try:
            self._write(path, before.replace(mutation.old, mutation.new))
            return self.passes(mutation.tests, timeout)
        finally:
            self._write(path, before)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._writes += 1
        at = path.stat().st_mtime + self._writes  # no compiled file of another text fits
        os.utime(path, (at, at))

    def _check_imports(self) -> None:
        code = "import ate_core, realman_driver; print(ate_core.__file__, realman_driver.__file__)"
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        files = run.stdout.split()
        if not all(Path(file).is_relative_to(self._folder) for file in files):
            raise RuntimeError(f"tests would import {files}, need files below {self._folder}")


def chosen(config: MutationConfig) -> list[Mutation]:
    """The mutations that a configuration asks for."""
    return [m for m in MUTATIONS if config.only in m.name and (m.quick or not config.quick)]


def run(config: MutationConfig) -> Iterator[Result]:
    """Try mutations, one after the other.

    Raises:
        RuntimeError: the tests fail without any mutation, or a mutation finds no place.
    """
    mutations = chosen(config)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = MutantTree(Path(folder))
        tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
        if not tree.passes(tests, 10 * config.timeout):
            raise RuntimeError(f"tests fail without any mutation:\n{tree.last_output}")
        for mutation in mutations:
            survived = tree.survives(mutation, config.timeout)
            yield Result(mutation=mutation, verdict=SURVIVED if survived else KILLED)


def main() -> int:
    """Print one line for each mutation; 1 when one survived."""
    config = tyro.cli(MutationConfig, description=__doc__)
    results = []
    for result in run(config):
        results.append(result)
        print(f"{result.verdict:8}  {result.mutation.name}  ({result.mutation.file})", flush=True)
    killed = sum(result.verdict == KILLED for result in results)
    print(f"{killed} of {len(results)} killed")
    return int(killed != len(results))


if __name__ == "__main__":
    raise SystemExit(main())
