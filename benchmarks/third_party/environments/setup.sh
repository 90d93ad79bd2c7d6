#!/usr/bin/env bash
# Make the virtual environment of one simulator, apart from the stack's own.
#   environments/setup.sh maniskill|robosuite [PYTHON]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?name a simulator: maniskill or robosuite}
python=${2:-python3.11}
list=$here/$name.txt
venv=$here/$name/.venv

fail() { echo "error: $*" >&2; exit 1; }

[ -f "$list" ] || fail "there is no environment '$name': use maniskill or robosuite"
command -v "$python" >/dev/null || fail "$python is not installed: the versions in $name.txt need it"
if cmp -s "$list" "$venv/installed.txt"; then exit; fi
rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
# torch first and exactly: an open range would pull the CUDA packages.
torch=$(grep '^torch==' "$list" || true)
[ -z "$torch" ] || "${pip[@]}" "$torch"
"${pip[@]}" -r "$list"
cp "$list" "$venv/installed.txt"
echo "environment ready: $venv"
