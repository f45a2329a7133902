"""Runs `failoverctl breaking-point` on the project's model server on the CPU, as a person would. See docs/laboratory/breaking-point.md.

It needs the model server's environment (from ``make test-pipelines``), and writes the plot and the printed steps to the document.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.breaking_point.paths import DOCS, IMAGES
from benchmarks.markdown import put
from failover_harness.control_plane.binaries import VEGETA, tool
from failover_harness.model_servers.own_model_server import BODY, python, serving_bert

BEGIN: Final = "<!-- model-server: written by `make bench-breaking-point-model-server` -->"
END: Final = "<!-- end of model-server -->"
UNIT: Final = "bert-cpu"

APPLICATION: Final = f"""apiVersion: failoverctl.dev/v1alpha1
kind: FailoverApplication
metadata: {{name: bert, namespace: default}}
spec:
  ingress: bert
  action: weighted-routing
  routingStyle: single-service
  capacityService: {{name: bert-all, port: 80}}
  units:
    - name: {UNIT}
      service: {{name: {UNIT}, port: 80}}
      deployment: {UNIT}
      nodePool: cpu
      instanceType: c7i.large
      pricePerHour: 0.08925
      throughput: 6000            # a guess
      latencySeconds: 0.5         # a guess
      weight: 1
"""


def main() -> None:
    """Runs it."""
    interpreter = python()
    if interpreter is None:
        sys.exit("the model server's environment is missing; make it with: make test-pipelines")
    with tempfile.TemporaryDirectory() as folder, serving_bert(interpreter) as url:
        file, body, output = Path(folder) / "bert.yaml", Path(folder) / "prompt.json", Path(folder) / "steps.json"
        file.write_text(APPLICATION)
        body.write_text(BODY)
        image = IMAGES / "breaking-point-model-server.svg"
        command = ["failoverctl", "breaking-point", file.name, UNIT, "--url", url, "--body", body.name]
        command += ["-H", "Content-Type: application/json", "--step", "6s"]
        ours = ["--yes", "--output", str(output), "--plot", str(image), "--load-tool", str(tool(VEGETA)), *sys.argv[1:]]
        program = Path(sys.executable).with_name("failoverctl")
        done = subprocess.run([str(program), *command[1:], *ours], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout)
        if done.returncode:
            sys.exit(f"failoverctl breaking-point ended with {done.returncode}")
        shown = done.stdout.partition("\nPlot: ")[0]
        written = "\n".join(line for line in file.read_text().splitlines() if any(word in line for word in ("throughput", "Seconds:")))
        document = json.loads(output.read_text())
        print(f"{document['found']['throughput']:.1f}/s, written:\n{written}")
    put(DOCS, BEGIN, END, [f"```\n{shown.strip()}\n```", f"```yaml\n{written}\n```"])


if __name__ == "__main__":
    main()
