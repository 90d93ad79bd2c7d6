"""A label is told as done where that episode was kept with that label, and only there."""

import contextlib
import json
import threading

import pytest
import yaml

from ate_core.contract import packaged_cell
from ate_core.errors import EpisodeError
from ate_core.label_request import ANSWER, LabelRequest, read_label

pytestmark = pytest.mark.ros
PATIENCE = 30.0


@contextlib.contextmanager
def played_recorder(take, prefix="/episode", **status):
    """A recorder whose status is `status`, until `take` says the next one to a label."""
    from std_msgs.msg import String

    from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS
    from ate_core.nodes.visitor import visit

    ended = threading.Event()
    with visit("played_recorder") as visitor:
        told = visitor.node.create_publisher(String, f"{prefix}/status", LATCHED_QOS)

        def label(message):
            for document in take(read_label(message.data)):
                told.publish(String(data=json.dumps(document)))

        visitor.node.create_subscription(String, f"{prefix}/label", label, DEFAULT_QOS)
        told.publish(String(data=json.dumps(status)))
        thread = threading.Thread(target=lambda: visitor.spin_until(ended.is_set, 2 * PATIENCE))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


WAITS = {"state": "pending", "episode": 3, "message": "episode_000003: 4.0 s"}


def test_who_kept_the_episode_first_is_not_taken_for_the_label(empty_domain):
    from ate_recorder.nodes.episode_client import recorder

    def take(asked):
        kept = {"state": "idle", "episode": 4, "message": "episode_000003 kept (success)"}
        yield kept
        refusal = f"episode {asked.episode} does not wait to be judged"
        yield {**kept, ANSWER: asked.answer(False, refusal)}

    with played_recorder(take, **WAITS), recorder(PATIENCE) as client:
        assert client.label("bad grasp") == (False, "episode 3 does not wait to be judged")


def test_a_label_that_was_given_is_done_though_another_episode_waits(empty_domain):
    from ate_recorder.nodes.episode_client import recorder

    def take(asked):
        assert (asked.label, asked.episode) == ("bad grasp", 3)
        done = asked.answer(True, "episode_000003 kept (bad grasp)")
        yield {**WAITS, "episode": 4, ANSWER: done}

    foreign = LabelRequest(label="x").answer(False, "an answer to somebody else")
    with played_recorder(take, **WAITS, **{ANSWER: foreign}), recorder(PATIENCE) as client:
        assert client.label(" bad grasp ") == (True, "episode_000003 kept (bad grasp)")
        with pytest.raises(EpisodeError, match="the recorder's own word"):
            client.label("pending")


def test_a_recorder_of_another_cell_is_reached_by_its_own_topics(empty_domain, tmp_path, capsys):
    from ate_bringup.cli import main

    values = yaml.safe_load(packaged_cell().read_text())
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump({**values, "topics": {"episode": "/session"}}))
    with played_recorder(lambda asked: (), prefix="/session", **WAITS, output=str(tmp_path)):
        words = ["episode", "list", "--cell", str(file), "--timeout", str(PATIENCE)]
        assert main(words) == 0
    assert "0 episodes in" in capsys.readouterr().out


def test_a_text_that_is_no_object_is_the_label_itself():
    for text in ("spilled", "", "3", '["a"]', "{", '{"episode": 3}'):
        asked = read_label(text)
        assert (asked.label, asked.episode) == (text, None)
    request = LabelRequest(label="spilled", episode=3)
    assert read_label(request.text()) == request
    assert request.find_answer({}) is None and request.find_answer({ANSWER: [1]}) is None
