#!/bin/sh
# Installs the pinned packages of one requirements file into the image's environment; those that are there stay.
set -eu
# Wheels, where there are some, are all that pip looks at: the build needs no package index.
if ls /build/wheelhouse/*.whl >/dev/null 2>&1; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/build/wheelhouse; fi
/build/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --requirement "/build/requirements/$1.txt"
# Packages' own tests bring programs and keys that nobody should find here.
find /opt/venv/lib -type d -name tests -prune -exec rm -rf {} +
