"""Each package declares what it imports and what its launch files start, no more and no less.

`package.xml` names packages of ours, of ROS and, by rosdep key, of the system; `setup.py` names
what pip has. Both are compared with the imports and with the processes of the launches.
"""

import ast
import fnmatch
import graphlib
import itertools
import re
import sys
import tomllib
import xml.etree.ElementTree as ET
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from ate_bringup.launches import LAUNCHES

SOURCE = Path(__file__).parents[2] / "ros2_ws" / "src"
PACKAGES = sorted(path.name for path in SOURCE.iterdir() if (path / "package.xml").is_file())
CELLS = sorted((SOURCE / "ate_core" / "ate_core" / "config").glob("*cell.yaml"))
ROS = {
    *("rclpy", "launch", "launch_ros", "ament_index_python", "rcl_interfaces"),
    *("builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "sensor_msgs", "std_msgs"),
    *("lifecycle_msgs", "std_srvs", "tf2_msgs", "trajectory_msgs"),
}
"""Packages of ROS that are imported under their own name."""
OF_PIP = {
    "Robotic_Arm": ("Robotic_Arm", None),
    "aiohttp": ("aiohttp", "python3-aiohttp"),
    "circus": ("circus", None),
    "coal": ("coal", None),
    "cv2": ("opencv-python-headless", "python3-opencv"),
    "daqp": ("daqp", None),
    "diffusers": ("diffusers", None),
    "google": ("protobuf", "python3-protobuf"),
    "grpc": ("grpcio", "python3-grpcio"),
    "h5py": ("h5py", "python3-h5py"),
    "hid": ("hidapi", None),
    "mcap": ("mcap", None),
    "msgpack": ("msgpack", "python3-msgpack"),
    "mujoco": ("mujoco", "python3-mujoco-pip"),
    "numpy": ("numpy", "python3-numpy"),
    "peft": ("peft", None),
    "pinocchio": ("pin", None),
    "pyjoycon": ("joycon-python", None),
    "pyrealsense2": ("pyrealsense2", "python3-pyrealsense2-pip"),
    "rich": ("rich", "python3-rich"),
    "rosbags": ("rosbags", "python3-rosbags-pip"),
    "safetensors": ("safetensors", None),
    "scipy": ("scipy", "python3-scipy"),
    "serial": ("pyserial", "python3-serial"),
    "simplejpeg": ("simplejpeg", "python3-simplejpeg-pip"),
    "torch": ("torch", "python3-pytorch-pip"),
    "transformers": ("transformers", "python3-transformers-pip"),
    "tyro": ("tyro", None),
    "yaml": ("PyYAML", "python3-yaml"),
}
"""Import -> name on the package index, rosdep key where there is one."""
UNSEEN = {"realsense_camera": {"libusb-1.0"}}
"""What a library of the package needs and no import shows: pyrealsense2 loads libusb."""
BY_NAME = {"operator_devices": {"hidapi", "PyGLM"}}
"""Imported by name (`hidraw`), or by a library that does not declare it (`glm`, by pyjoycon)."""


def imported(package):
    """Roots of all imports in a package, those for types alone left out."""
    roots = set()
    for path in [
        *(SOURCE / package / package).rglob("*.py"),
        *(SOURCE / package).glob("launch/*"),
    ]:
        tree = ast.parse(path.read_text())
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if node in for_types:
                continue
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                roots.add(node.module.split(".")[0])
    return roots - {package} - set(sys.stdlib_module_names)


def started(package):
    """Packages of the processes that its launch files start, on real and emulated devices."""
    modes = ({"hardware": "real"}, {"hardware": "sim", "episodes": "1"})
    found = set()
    for launch in LAUNCHES.values():
        if launch.package != package:
            continue
        needed = {"checkpoint": "x"} if launch is LAUNCHES["deploy"] else {}
        needed |= {one.name: "x" for one in launch.arguments if one.default is None}
        for given, cell in itertools.product(modes, CELLS):
            specs = launch.processes({**given, **needed, "cell": str(cell)})
            found |= {spec.package for spec in specs}
    return found - {package}


def declared(package, *tags):
    manifest = ET.parse(SOURCE / package / "package.xml").getroot()
    return [element.text for tag in tags for element in manifest.iter(tag)]


def keyword_of_setup(package, name):
    tree = ast.parse((SOURCE / package / "setup.py").read_text())
    values = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
        for keyword in node.keywords
        if keyword.arg == name
    ]
    return values[0] if values else None


def expected_depends(package):
    roots = imported(package)
    keys = {OF_PIP[root][1] for root in roots & set(OF_PIP)} - {None}
    ours = roots & {*PACKAGES, *ROS}
    return keys | ours | started(package) | UNSEEN.get(package, set())


def expected_requires(package):
    of_pip = {OF_PIP[root][0] for root in imported(package) & set(OF_PIP)}
    return {"setuptools"} | of_pip | BY_NAME.get(package, set())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_of_a_known_package(package):
    assert imported(package) <= {*PACKAGES, *ROS, *OF_PIP}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_xml_declares_what_is_imported_and_launched(package, runtime_dir):
    listed = declared(package, "exec_depend", "depend", "build_depend", "build_export_depend")
    assert listed == sorted(expected_depends(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_setup_py_requires_what_pip_has_and_nothing_of_ros(package):
    listed = ast.literal_eval(keyword_of_setup(package, "install_requires"))
    assert listed == sorted(expected_requires(package), key=str.lower)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_installed(package):
    value = keyword_of_setup(package, "package_data")
    patterns = [] if value is None else ast.literal_eval(value.values[0])
    folder = SOURCE / package / package
    for file in folder.rglob("*"):
        name = str(file.relative_to(folder))
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_packages_do_not_depend_on_each_other_in_a_circle():
    graph = {name: set(declared(name, "exec_depend")) & set(PACKAGES) for name in PACKAGES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("ate_core") < order.index("ate_sim") < order.index("ate_policy")


def test_what_deployment_starts_is_built_up_to_ate_policy(runtime_dir):
    needed, known = {"ate_policy"}, set()
    while needed - known:
        package = (needed - known).pop()
        known.add(package)
        needed |= set(declared(package, "exec_depend")) & set(PACKAGES)
    assert started("ate_policy") <= known and "ate_sim" in known


def test_every_pinned_package_takes_the_first_release_of_the_oldest_python():
    """Debian's 3.11.2 is served too; of those installed here, since only these say it."""
    root = SOURCE.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    oldest = re.match(r">=([\d.]+)", project["requires-python"])[1] + ".0"
    pins = {
        line.partition("==")[0]
        for line in (root / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    needs = {d.name: d.metadata.get("Requires-Python") or "" for d in distributions()}
    assert len(pins & needs.keys()) > 50
    refusing = {name for name in pins & needs.keys() if oldest not in SpecifierSet(needs[name])}
    assert not refusing
