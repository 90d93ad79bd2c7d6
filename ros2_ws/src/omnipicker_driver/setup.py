"""Build of the ROS package."""

from setuptools import find_packages, setup

PACKAGE = "omnipicker_driver"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["numpy", "pyserial", "setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Driver of one AgiBot OmniPicker gripper on RS485, with an emulated gripper.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["gripper_node = omnipicker_driver.nodes.gripper_node:main"],
    },
)
