"""Texts reach a parameter of a node as they are, whatever YAML would make of them."""

import pytest

from ate_core.ros_words import parameter_words

TEXTS = [
    *("12345678", "true", "null", "~", "1e5", "[1, 2]", "# none", "geheim: x", 'it\'s "so"'),
    *("ä ö", "\U0001f600 x", "C:\\new", "a\tb", ""),
]


@pytest.mark.ros
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_reaches_a_node_as_it_is(empty_domain, text):
    import rclpy

    rclpy.init(args=["--ros-args", *parameter_words({"word": text, "number": 8400})])
    try:
        node = rclpy.create_node("listener")
        assert node.declare_parameter("word", "another").value == text
        assert node.declare_parameter("number", 0).value == 8400
        node.destroy_node()
    finally:
        rclpy.shutdown()
