#!/usr/bin/env bash
# Build all ROS packages with colcon into a scratch folder and import the result.
#   tools/colcon_build.sh VENV
set -euo pipefail
venv=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ -n "${ROS_DISTRO:-}" ] || export AMENT_PREFIX_PATH=$venv
export PATH=$venv/bin:$PATH ROS_LOG_DIR=$scratch/ros PYTHONDONTWRITEBYTECODE=1
cd "$scratch"
colcon list --base-paths "$here/ros2_ws/src" >packages
if grep -v '(ros.ament_python)$' packages; then
    echo "error: the packages above are not ament_python: mend their package.xml" >&2
    exit 1
fi
build() {
    colcon build --base-paths "$here/ros2_ws/src" --event-handlers console_cohesion- "$@" >build.log 2>&1 ||
        { cat build.log >&2; exit 1; }
    set +u
    . install/setup.bash
    set -u
}
# -P and an empty folder: whatever is imported must come from the install space.
python_there() { (cd / && python -P "$@"); }

# What the launch of a package starts is built with it, for real and for emulated devices.
build --packages-up-to ate_policy
for hardware in real sim; do
    python_there -c "
import importlib, importlib.util, sys
from ate_bringup.launches import LAUNCHES
specs = LAUNCHES['deploy'].processes(
    {'checkpoint': 'x', 'hardware': '$hardware', 'episodes': '1' if '$hardware' == 'sim' else '0'}
)
for spec in specs:
    importlib.import_module(spec.package)
    found = importlib.util.find_spec(spec.module)
    assert found and found.origin.startswith('$scratch/install/'), spec.module
print('colcon: --packages-up-to ate_policy holds the', len(specs), 'processes of deploy, $hardware')
"
done

build
while read -r package _; do
    python_there -c "
import importlib
module = importlib.import_module('$package')
assert module.__file__.startswith('$scratch/install/'), module.__file__
"
    test -f "install/$package/share/ament_index/resource_index/packages/$package"
done <packages
echo "colcon: $(wc -l <packages) packages built and imported"
