"""Isolation of tests that use sockets, runtime folders or ROS."""

import os

import pytest
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Runs are repeated bit for bit on a CPU; what a GPU must do stands in test_gpu.py.
os.environ.setdefault("ACCELERATE_USE_CPU", "true")
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# One domain per test process: parallel runs on one machine do not see each other.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


@pytest.fixture(autouse=True, scope="session")
def _ros_log_folder(tmp_path_factory):
    os.environ.setdefault("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))


@pytest.fixture
def runtime_dir(tmp_path, monkeypatch):
    """An empty runtime folder of a simulated cell, short enough for unix sockets."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ate-") as folder:
        monkeypatch.setenv("ATE_RUNTIME_DIR", folder)
        yield folder


@pytest.fixture(scope="session")
def seven_cameras(tmp_path_factory):
    """File of the packaged cell with its first camera renamed and four more: one on a flange."""
    from ate_core.contract import packaged_cell

    values = yaml.safe_load(packaged_cell().read_text())
    real, simulated = values["cameras"], values["simulation"]["cameras"]
    for section in (real, simulated):
        section["table"] = section.pop("overhead")
    real["table"]["key"] = "cam_table"
    views = {
        "front": {"mount": "world", "position": [0.95, 0, 0.45], "look_at": [0.25, 0, 0.05]},
        "side": {"mount": "world", "position": [0.3, -0.9, 0.4], "look_at": [0.3, 0, 0.1]},
        "back": {"mount": "world", "position": [0.3, 0.0, 0.9], "quaternion": [1, 0, 0, 0]},
        "palm": {"mount": "left_flange", "position": [0, 0.09, 0.06], "look_at": [0, 0, 0.16]},
    }
    size = {"width": 128, "height": 72, "fps": 10}
    for role, view in views.items():
        real[role] = {"key": f"cam_{role}", "serial": "", "backend": "realsense", **size}
        real[role]["view"] = {**view, "fovy": 50.0}
        simulated[role] = {"backend": "software", "serial": role}
    file = tmp_path_factory.mktemp("seven") / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def pytest_collection_modifyitems(items):
    """Tests marked ``ros`` say so when ROS is not there."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        skip = pytest.mark.skip(reason=f"needs rclpy: {error}")
        for item in items:
            if "ros" in item.keywords:
                item.add_marker(skip)
