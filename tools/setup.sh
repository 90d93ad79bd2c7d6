#!/usr/bin/env bash
# Make the virtual environment that every `make` target uses.
#   tools/setup.sh VENV [PYTHON]
# With ROS 2 sourced, its Python packages are used; without, the ROS wheels of PyPI are installed.
# Jazzy's messages are built for numpy 1: with ROS sourced, numpy stays below 2, and so pin at 2.7.0
# and pyarrow at 25.0.0, the newest versions that stand beside numpy 1.
set -euo pipefail
venv=$1
wanted=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
ros_wheels=(
    "ros-rclpy[fastrtps]==7.1.6" ros-std-msgs==5.3.6 ros-sensor-msgs==5.3.6
    ros-geometry-msgs==5.3.6 ros-diagnostic-msgs==5.3.6 ros-std-srvs==5.3.6
    ros-rcl-interfaces==2.0.3 ros-rosgraph-msgs==2.0.3 ros-lifecycle-msgs==2.0.3
    ros-trajectory-msgs==5.3.6
)

fail() { echo "error: $*" >&2; exit 1; }

# As root: install these Debian/Ubuntu packages. Else: name the command that does.
need_packages() {
    local command="apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "installing system packages: $*"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && $command -qq >/dev/null ||
            fail "the system packages $* could not be installed: run '$command'"
    else
        fail "system packages are missing: run 'sudo apt-get update && sudo $command'"
    fi
}

# Print the path of a Python that fits, nothing if there is none.
find_python() {
    local names=(python3.11 python3.12 python3.13 python3)
    [ -z "${ROS_DISTRO:-}" ] || names=(python3) # ROS 2 is built for the system's own Python
    [ -z "$wanted" ] || names=("$wanted")
    for name in "${names[@]}"; do
        if command -v "$name" >/dev/null &&
            "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then
            command -v "$name"
            return
        fi
    done
}

no_python() {
    local found
    found=$("${wanted:-python3}" --version 2>&1) || found="no ${wanted:-python3}"
    fail "Python 3.11, 3.12 or 3.13 is needed, found $found: install one or set PYTHON=/path/to/python3"
}

# Shared library -> Debian/Ubuntu package that holds it.
system_packages() {
    local missing=()
    # ldconfig is in no ordinary user's PATH on Debian; `grep -q` would break the pipe it writes to.
    have() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p | grep "$1" >/dev/null; }
    have libusb-1.0.so.0 || missing+=(libusb-1.0-0)
    have libgomp.so.1 || missing+=(libgomp1)
    have libEGL.so.1 || missing+=(libegl1)
    have libEGL_mesa.so.0 || missing+=(libegl-mesa0 libgl1-mesa-dri)
    have libOpenGL.so.0 || missing+=(libopengl0)
    if [ -z "$python" ]; then
        missing+=(python3 python3-venv)
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    [ ${#missing[@]} -eq 0 ] || need_packages "${missing[@]}"
}

[ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m): the device libraries need x86_64"
# Where there is no Python at all, the system's is installed; another version stays its owner's matter.
python=$(find_python)
if [ -z "$python" ] && { [ -n "$wanted" ] || command -v python3 >/dev/null; }; then
    no_python
fi
system_packages
python=$(find_python)
[ -n "$python" ] || no_python
constraints=$here/constraints.txt
if [ -n "${ROS_DISTRO:-}" ]; then
    "$python" -m venv --system-site-packages "$venv"
    ros_wheels=()
    grep -v -i -E '^(numpy|pyarrow|pin|eigenpy|coal|libcoal|libpinocchio|cmeel[a-z-]*)==' "$constraints" \
        >"$venv/constraints.txt"
    printf 'numpy<2\npin==2.7.0\npyarrow==25.0.0\n' >>"$venv/constraints.txt"
    constraints=$venv/constraints.txt
else
    "$python" -m venv "$venv"
fi
constraints=$(realpath "$constraints")
echo "installing the Python packages into $venv: some minutes the first time"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
cd "$here"
# torch first and exactly: a local CPU build (2.13.0+cpu) then goes before the package index's CUDA build.
"${pip[@]}" -c "$constraints" setuptools wheel
"${pip[@]}" -c "$constraints" "torch==$(sed -n 's/^torch==//p' constraints.txt)"
[ ${#ros_wheels[@]} -eq 0 ] || "${pip[@]}" -c "$constraints" "${ros_wheels[@]}"
"${pip[@]}" -c "$constraints" --use-pep517 --no-build-isolation -e ".[dev]"
echo "environment ready: $venv ($("$venv/bin/python" --version))"
