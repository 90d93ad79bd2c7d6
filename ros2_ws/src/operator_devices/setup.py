"""Installs operator_devices for colcon and pip."""

from setuptools import find_packages, setup

PACKAGE = "operator_devices"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=[
        "grpcio",
        "hidapi",
        "joycon-python",
        "numpy",
        "protobuf",
        "PyGLM",
        "setuptools",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Headset and Joy-Con of one operator, and their emulators",
    license="Apache-2.0",
)
