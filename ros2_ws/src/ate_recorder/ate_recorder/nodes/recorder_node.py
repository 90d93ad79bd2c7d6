"""Records one bag per episode; start, stop, keep, discard and redo are services.

Run: ``python -m ate_recorder.nodes.recorder_node --ros-args -p output:=episodes``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.errors import AteError
from ate_core.json_text import Document
from ate_core.label_request import ANSWER, read_label
from ate_core.nodes.heartbeat import Heartbeat
from ate_core.nodes.listening import listen
from ate_core.nodes.parameters import declare_cell, declare_text
from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS
from ate_core.nodes.runner import run_node
from ate_recorder.at_once import AtOnce
from ate_recorder.clocks import read_clocks
from ate_recorder.device_facts import DeviceFacts
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.nodes.stream_taker import StreamTaker
from ate_recorder.recorder import EmptyEpisodeError, EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.software import software_versions

STATUS_PERIOD = 1.0
"""Period of /episode/status while recording [s]."""


class RecorderNode(Node):
    """Parameters to config, services to the recorder, messages past both as raw bytes."""

    def __init__(self) -> None:
        super().__init__("recorder")
        cell = declare_cell(self)
        config = self._declare_config()
        self._recorder = EpisodeRecorder(cell, config, claim=FolderClaim(config.output))
        self._recorder.probe_disk()
        facts = DeviceFacts()
        self._recorder.devices = facts.as_dict
        listen(self, DiagnosticArray, "/diagnostics", lambda m: _hear(facts, m), DEFAULT_QOS)
        prefix = cell.topics.episode
        self._status = self.create_publisher(String, f"{prefix}/status", LATCHED_QOS)
        self._published = ""
        self._at_once = AtOnce()
        self._labelled: Document = {}
        commands = {
            "start": self._recorder.start,
            "stop": self._recorder.stop,
            "keep": self._recorder.keep,
            "fail": self._recorder.fail,
            "discard": self._recorder.discard,
            "redo": self._recorder.redo,
            "save_last": self._recorder.save_last,
        }
        self._episode_services = [
            self.create_service(Trigger, f"{prefix}/{name}", self._answer(name, command))
            for name, command in commands.items()
        ]
        listen(self, String, f"{prefix}/label", self._take_label, DEFAULT_QOS)
        self._timer = self.create_timer(STATUS_PERIOD, self._supervise)
        self._heartbeat = Heartbeat(self, "recorder: state", lambda: "running")
        self._streams_node = rclpy.create_node(
            "recorder_streams", start_parameter_services=False, enable_rosout=False
        )
        self._taker = StreamTaker(
            self._streams_node,
            self._recorder.streams.values(),
            self._recorder,
        )
        self._publish_status()

    def halt(self) -> None:
        """Close an open episode as interrupted: what was demonstrated so far is kept."""
        now_ns = self._now_ns()
        self._taker.catch_up()
        try:
            line = self._recorder.interrupt(now_ns, "the recorder was stopped")
            if line is not None:
                self.get_logger().warning(line)
        except AteError as error:
            self.get_logger().error(str(error))
        self._publish_status()
        self._taker.stop()
        self._streams_node.destroy_node()

    def _declare_config(self) -> RecorderConfig:
        text = {
            "output": declare_text(self, "output", "episodes", "folder of the episodes"),
            "task": declare_text(self, "task", "", "short name of the task"),
            "instruction": declare_text(self, "instruction", "", "the task in words"),
            "operator": declare_text(self, "operator", "", "who demonstrates"),
        }
        seed = self._declare("seed", -1, "seed of a scripted demonstration; -1 for people")
        images = self._declare("require_images", True, "refuse episodes without their cameras")
        free = self._declare("min_free_gb", 1.0, "free disk below which no episode starts [GB]")
        slow = self._declare("may_be_slow", False, "start on a disk slower than the streams")
        ring = self._declare("ring_s", 10.0, "how far back the last seconds can be saved [s]")
        memory = self._declare("ring_mb", 128.0, "memory that these seconds may take [MB]")
        before = self._declare("pre_roll_s", 0.0, "how long before its start one begins [s]")
        return RecorderConfig(
            output=Path(text["output"]).expanduser(),
            task=text["task"],
            instruction=text["instruction"],
            operator=text["operator"],
            seed=int(seed),
            require_images=bool(images),
            min_free_gb=float(free),
            may_be_slow=bool(slow),
            ring_s=float(ring),
            ring_mb=float(memory),
            pre_roll_s=float(before),
            versions=software_versions(),
        )

    def _declare(self, name: str, default: float | bool, description: str) -> float | bool:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        value: float | bool = self.declare_parameter(name, default, descriptor).value
        return value

    def _answer(
        self, name: str, command: Callable[[int], str], *, names_its_episode: bool = False
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            now_ns = self._now_ns()
            self._taker.catch_up()  # what arrived before now belongs to what was before
            self._at_once.see(self._recorder.judged)
            told = self._at_once.answer(name, names_its_episode=names_its_episode)
            if told is None:
                told = self._carry_out(name, command, now_ns)
            response.success, response.message = told
            if response.success:
                self.get_logger().info(response.message)
            else:
                self.get_logger().warning(response.message)
            self._publish_status()
            return response

        return answer

    def _carry_out(
        self, name: str, command: Callable[[int], str], now_ns: int
    ) -> tuple[bool, str]:
        """Do what is asked for; whether it was done, and in words."""
        try:
            message = command(now_ns)
        except EmptyEpisodeError as error:
            self._at_once.done("discard", self._recorder.judged)
            return False, str(error)
        except (AteError, OSError) as error:
            self._at_once.see(self._recorder.judged)  # it may have ended all the same
            return False, str(error)
        self._at_once.done(name, self._recorder.judged)
        return True, message

    def _take_label(self, message: String) -> None:
        """Keep the episode that waits, with a label in words; the status tells the result."""
        asked = read_label(message.data)
        keep = self._answer(
            "label",
            lambda now: self._recorder.keep(now, asked.label, asked.episode),
            names_its_episode=asked.episode is not None,
        )
        response = keep(Trigger.Request(), Trigger.Response())
        self._labelled = asked.answer(bool(response.success), str(response.message))
        self._publish_status()

    def _supervise(self) -> None:
        self._taker.check()
        self._recorder.supervise(self._now_ns())
        self._at_once.see(self._recorder.judged)
        self._publish_status()

    def _publish_status(self) -> None:
        status = {**self._recorder.status(self._now_ns()), ANSWER: self._labelled}
        text = json.dumps(status, sort_keys=True)
        if text != self._published:
            self._published = text
            self._status.publish(String(data=text))

    def _now_ns(self) -> int:
        """Time on the clock that never steps [ns]."""
        return read_clocks()[0]


def _hear(facts: DeviceFacts, message: DiagnosticArray) -> None:
    """Let facts take each line of a message."""
    for line in message.status:
        facts.hear(line.name, line.hardware_id, {v.key: v.value for v in line.values})


def main(args: list[str] | None = None) -> int:
    """Run the recorder until SIGINT or SIGTERM."""
    return run_node(RecorderNode, args)


if __name__ == "__main__":
    sys.exit(main())
