#!/bin/sh
# Proves a model on the accelerator of this machine, and writes a row of the matrix: benchmarks/prove.py says what. The first argument is
# cuda, triton, neuron or vllm (a vLLM that runs already, at --url). Needs Python with the machine's own torch (vllm: without), or the
# container of the model server's image; the environment is beside the checkout.
#   benchmarks/prove.sh neuron --task text-classification --model ORG/REPO --revision COMMIT --name bert --device inf2 --shape sequence_length=128
#   benchmarks/prove.sh vllm --url http://127.0.0.1:8001 --engine vllm-plugin --model ORG/REPO --name llama-3.1-8b --device trn2
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
case ${1:-} in
  cuda | triton | neuron)
    "$python" -c 'import torch' 2>/dev/null || { echo "$python has no torch: set PYTHON to one that has" >&2; exit 1; }
    extra=$1 ;;
  vllm) extra=vllm ;;
  *) echo "usage: $0 cuda|triton|neuron|vllm [--help]" >&2; exit 2 ;;
esac
if [ "$extra" = neuron ] && ! ls /dev/neuron* >/dev/null 2>&1; then
  echo "no /dev/neuron*: this machine or container has no Neuron device" >&2; exit 1
fi
"$python" -m venv --system-site-packages .venv-prove
.venv-prove/bin/python -m pip install --quiet --disable-pip-version-check ".[$extra]"
exec .venv-prove/bin/python -m benchmarks.prove "$@"
