"""Repository rules as tests: who imports whom, and that both install modes know every package."""

import ast
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "ros2_ws" / "src"
PACKAGES = sorted(path.name for path in SOURCE.iterdir() if (path / "package.xml").is_file())
SHARED = {"ate_core", "ate_description"}
ALLOWED = {
    "ate_core": {"ate_description"},
    "ate_description": set(),
    # A driver of an arm is a back end of arm_driver.
    "realman_driver": SHARED | {"arm_driver"},
    "ros2_control_driver": SHARED | {"arm_driver"},
    # The simulated cell hosts the drivers' emulators and plays the operators' devices.
    "ate_sim": SHARED | {"operator_devices", "realman_driver", "omnipicker_driver"},
    "ate_teleop": SHARED | {"operator_devices"},
    # The launches name drivers, emulators and the simulated cell; they import none of them.
    "ate_bringup": {"ate_core"},
    # A repaired bag is written as the recorder writes it.
    "training": SHARED | {"ate_policy", "ate_recorder", "ate_sim", "training"},
}


def python_files(folder):
    return [path for path in folder.rglob("*.py") if "build" not in path.parts]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def modules_of(package):
    folder = ROOT / "training" if package == "training" else SOURCE / package / package
    return [(path, module) for path in python_files(folder) for module in imported_modules(path)]


@pytest.mark.parametrize("package", [*PACKAGES, "training"])
def test_packages_import_only_what_they_may(package):
    own = {*PACKAGES, "training"}
    allowed = ALLOWED.get(package, SHARED) | {package}
    for path, module in modules_of(package):
        root = module.split(".")[0]
        assert root not in own or root in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("package", [*PACKAGES, "training"])
def test_rclpy_is_imported_only_by_nodes(package):
    for path, module in modules_of(package):
        if module.split(".")[0] in ("rclpy", "rcl_interfaces"):
            assert "nodes" in path.parts, f"{path} imports {module}"


@pytest.mark.parametrize("package", [*PACKAGES, "training"])
def test_torch_is_imported_only_by_policy_and_training(package):
    if package in ("ate_policy", "training"):
        return
    for path, module in modules_of(package):
        assert module.split(".")[0] != "torch", f"{path} imports {module}"


def test_training_does_not_import_nodes():
    for path, module in modules_of("training"):
        assert ".nodes" not in module, f"{path} imports {module}"


def test_the_editable_install_knows_every_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    where = settings["tool"]["setuptools"]["packages"]["find"]["where"]
    assert sorted(where) == sorted([".", *(f"ros2_ws/src/{name}" for name in PACKAGES)])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_complete(package):
    folder = SOURCE / package
    manifest = ET.parse(folder / "package.xml").getroot()
    assert manifest.findtext("name") == package
    assert manifest.findtext("license") == "Apache-2.0"
    assert manifest.findtext("export/build_type") == "ament_python"
    for file in ("setup.py", "setup.cfg", f"resource/{package}", "README.md"):
        assert (folder / file).is_file(), f"{package} lacks {file}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_node_is_an_executable(package):
    setup = (SOURCE / package / "setup.py").read_text()
    for path in (SOURCE / package / package / "nodes").glob("*.py"):
        text = path.read_text()
        if "def main(" in text:
            assert f"{path.stem} = {package}.nodes.{path.stem}:main" in setup, path


@pytest.mark.parametrize("package", PACKAGES)
def test_launch_files_are_installed(package):
    launch = SOURCE / package / "launch"
    if launch.is_dir():
        assert "launch" in (SOURCE / package / "setup.py").read_text()
        for file in launch.glob("*.launch.py"):
            compile(file.read_text(), str(file), "exec")


def test_no_test_folder_shadows_a_package():
    names = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert not names & {*PACKAGES, "training"}


def test_nothing_in_the_tree_names_a_machine_or_a_folder_of_its_own():
    words = ("/ro" + "ot/", "/wo" + "rk/", "/tm" + "p/bash", "sha" + "red/data", "../sha" + "red")
    tree = [
        path for kind in ("py", "md", "yaml", "sh") for path in ROOT.glob(f"[!.]*/**/*.{kind}")
    ]
    tracked = [path for path in tree if not {"build", "runs", "install"} & set(path.parts)]
    for path in [*tracked, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        text = path.read_text()
        assert not any(word in text for word in words), path


def test_nodes_hear_others_by_the_one_rule_for_bad_messages():
    # Stops must not be passed over; the other two take raw bytes by themselves.
    exempt = {"listening.py", "estop.py", "polling.py", "stream_taker.py"}
    for path in python_files(SOURCE):
        if "nodes" in path.parts and path.name not in exempt:
            assert ".create_subscription(" not in path.read_text(), path
        if path.name != "listening.py":
            assert "deserialize_message" not in path.read_text(), f"{path}: use `decoded`"


def test_commands_on_data_print_words_as_they_are():
    """Names in files may look like the marks of a terminal, on which Rich fails."""
    others = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "training").rglob("*.py")
        if "import Console" in path.read_text() and "Console(" in path.read_text()
    ]
    assert others == ["training/reporting/terminal.py"]
