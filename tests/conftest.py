"""Isolation of tests that use sockets, runtime folders or ROS."""

import os

import pytest

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


def pytest_collection_modifyitems(items):
    """Tests marked ``ros`` say so when ROS is not there."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        skip = pytest.mark.skip(reason=f"needs rclpy: {error}")
        for item in items:
            if "ros" in item.keywords:
                item.add_marker(skip)
