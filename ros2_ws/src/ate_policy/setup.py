"""Installs ate_policy for colcon and pip."""

from setuptools import find_packages, setup

PACKAGE = "ate_policy"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", ["launch/deploy.launch.py"]),
    ],
    install_requires=[
        "aiohttp",
        "diffusers",
        "msgpack",
        "numpy",
        "peft",
        "PyYAML",
        "safetensors",
        "scipy",
        "setuptools",
        "simplejpeg",
        "torch",
        "transformers",
        "tyro",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="ATE stack maintainers",
    maintainer_email="maintainers@ate-stack.example",
    description="Policies for the two-arm cell: models, checkpoints, inference, the policy node.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["policy_node = ate_policy.nodes.policy_node:main"]},
)
