"""Installs ate_recorder for colcon and pip."""

from setuptools import find_packages, setup

PACKAGE = "ate_recorder"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["mcap", "numpy", "PyYAML", "rosbags", "setuptools", "tyro"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Records one raw MCAP bag per episode, with contract, outcome and losses",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["recorder_node = ate_recorder.nodes.recorder_node:main"],
    },
)
