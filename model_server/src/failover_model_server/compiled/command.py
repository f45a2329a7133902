"""`failover-model-server artifact`: say what compiled artifacts were compiled for."""

from pathlib import Path

import click

from failover_model_server.compiled import artifact as artifacts
from failover_model_server.compiled.artifact import Artifact, Runtime
from failover_model_server.download.plan import ARTIFACT


@click.command("artifact")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", required=True, help="ORG/REPO that was compiled.")
@click.option("--revision", required=True, help="Its commit.")
@click.option("--task", required=True, help="What it is served for, as text-to-image.")
@click.option("--instance", required=True, help="Instance type or family that it was compiled for, as inf2.")
@click.option("--shape", "shapes", multiple=True, required=True, help="As batch_size=1; repeat for sequence_length, height, width.")
@click.option("--tensor-parallel", default=1, show_default=True, help="NeuronCores that run one copy together.")
def command(directory: Path, model: str, revision: str, task: str, instance: str, shapes: tuple[str, ...], tensor_parallel: int) -> None:
    """Write DIRECTORY/artifact.json, where the artifacts were compiled: the versions are those installed here."""
    versions = Runtime.here().versions
    missing = [artifacts.PACKAGES[field] for field, found in versions.items() if found is None]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} is not installed: run this where it was compiled, in the Neuron image")
    target = artifacts.target_of(instance)
    if target is None:
        raise click.ClickException(f"--instance {instance}: has no NeuronCores; inf2, trn1, trn1n and trn2 have")
    files = artifacts.compiled_files(directory)
    if not files:
        raise click.ClickException(f"{directory} holds no compiled model: neither a .neuron file nor model.pt")
    sizes = dict(_shape(text) for text in shapes)
    if "batch_size" not in sizes:
        raise click.ClickException("--shape: batch_size is missing")
    versions_known = {field: str(found) for field, found in versions.items()}
    artifacts.write(
        directory,
        Artifact(model, revision, task, **versions_known, target=target, tensor_parallel=tensor_parallel, shapes=sizes, files=files),
    )
    click.echo(directory / ARTIFACT)


def _shape(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator or not value.isdigit() or int(value) < 1:
        raise click.ClickException(f"--shape {text}: write it as batch_size=1")
    return name, int(value)
