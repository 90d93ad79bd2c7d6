#!/usr/bin/env bash
# Make the environment in which tests run the readers of others on what we export: LeRobot itself
# and what the loaders of ACT, RDT and RoboTwin import.
#   tools/readers.sh FOLDER [PYTHON]
# LeRobot 0.4.4 is the newest that runs on Python 3.11; it reads data sets of version 3.0. It asks
# for torch below 2.11, so it and torchvision, of which it uses the video reader written in Python,
# are installed without their requirements beside the torch of this project.
set -euo pipefail
folder=$1
python=${2:-python3.11}
"$python" -m venv "$folder.new"
pip=("$folder.new/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 "datasets>=4.0,<5" "av>=15,<16" "numpy<2.3" jsonlines draccus==0.10.0 \
    einops "opencv-python-headless<4.13" "packaging<26" h5py IPython PyYAML Pillow \
    "setuptools<81" accelerate gymnasium deepdiff termcolor
"${pip[@]}" --no-deps lerobot==0.4.4 torchvision==0.25.0
rm -rf "$folder"
mv "$folder.new" "$folder"
echo "$folder is ready: the tests in tests/export find it"
