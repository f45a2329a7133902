#!/bin/sh
# Measures the model server on a machine that has a GPU, Python and PyTorch, and nothing of this project yet: benchmarks/gpu.py says what.
# The environment is beside the checkout and uses the machine's own torch. Arguments go to gpu.py: --dry-run, --out FILE.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || { echo "$python has no torch: set PYTHON to one that has" >&2; exit 1; }
"$python" -m venv --system-site-packages .venv-gpu
.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check '.[cuda]'
exec .venv-gpu/bin/python -m benchmarks.gpu "$@"
