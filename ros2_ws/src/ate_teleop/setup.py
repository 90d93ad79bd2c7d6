"""Installs ate_teleop for colcon and pip."""

from glob import glob

from setuptools import find_packages, setup

package_name = "ate_teleop"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
        ("share/" + package_name + "/launch", glob("launch/*.launch.py")),
    ],
    install_requires=["daqp", "h5py", "numpy", "pin", "PyYAML", "rosbags", "setuptools", "tyro"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Teleoperation: hand pose and Joy-Con to joint targets and gripper commands",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["operator_node = ate_teleop.nodes.operator_node:main"],
    },
)
