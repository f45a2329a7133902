"""The Dockerfiles, from `images.yaml` and the templates beside it."""

from pathlib import Path, PurePosixPath
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploy.images.catalog import Images, Server

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PROGRAM: Final = "failover-model-server"


def dockerfiles(images: Images) -> dict[Path, str]:
    """The content of every Dockerfile, by path in the repository."""
    made = {Path("Dockerfile"): _controller(images)}
    for name, server in images.servers.items():
        made[Path("deploy/images") / f"{name}.Dockerfile"] = _server(name, server, images)
    return made


def export_options(server: Server) -> list[str]:
    """Options of `uv export` for the distributions to install on the base: all locked ones except the base's own and their dependencies."""
    extras = (f"--extra {extra}" for extra in server.extras)
    group = [f"--group {server.group}"] if server.group else []
    return ["--no-dev", *group, *extras, *(f"--prune {one}" for one in (*server.base_has, *server.without))]


def _environment() -> Environment:
    # Not HTML: nothing is escaped.
    return Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701


def _unresolved(images: Images, *names: str) -> list[str]:
    return [images.bases[name].tagged for name in names if not images.bases[name].resolved]


def _controller(images: Images) -> str:
    return (
        _environment()
        .get_template("controller.Dockerfile.j2")
        .render(
            python=images.bases["python"].reference,
            uv=images.bases["uv"].reference,
            unresolved=_unresolved(images, "python", "uv"),
        )
    )


def _server(name: str, server: Server, images: Images) -> str:
    return (
        _environment()
        .get_template("server.Dockerfile.j2")
        .render(
            name=name,
            base=images.bases[server.base].reference,
            uv=images.bases["uv"].reference,
            unresolved=_unresolved(images, server.base, "uv"),
            base_has=[f"{one} {version}" for one, version in server.base_has.items()],
            interpreter=server.interpreter,
            programs=PurePosixPath(server.interpreter).parent,
            export=export_options(server),
            imports=server.imports,
            cuda_compat=server.cuda_compat,
            environment=server.environment,
            group=server.group,
            program=PROGRAM,
            command=server.command,
        )
    )
