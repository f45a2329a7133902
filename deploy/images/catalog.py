"""`images.yaml`: which images a build starts from, by tag and digest, and what is built on them."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FILE: Final = Path(__file__).with_name("images.yaml")
UNRESOLVED: Final = "unresolved"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Model):
    """A base image from another project."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+$")]
    """Registry and repository."""
    tag: Annotated[str, Field(pattern=r"^[\w][\w.-]{0,127}$")]
    digest: str
    """The tag's digest at its registry, or `unresolved`; never an invented one."""
    patched_until: date | None = None
    """When AWS stops patching the tag, if it states that."""

    @field_validator("digest")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != UNRESOLVED and not _DIGEST.fullmatch(value):
            raise ValueError(f"digest: {value!r} is neither sha256: and 64 hexadecimal digits nor {UNRESOLVED}")
        return value

    @property
    def resolved(self) -> bool:
        """Whether the digest is known."""
        return self.digest != UNRESOLVED

    @property
    def tagged(self) -> str:
        """Image and tag."""
        return f"{self.image}:{self.tag}"

    @property
    def reference(self) -> str:
        """The reference in a Dockerfile or manifest, with the digest if it is known."""
        return f"{self.tagged}@{self.digest}" if self.resolved else self.tagged


class Server(_Model):
    """A model server's image."""

    base: str
    python: str
    """Version in the base image."""
    interpreter: str
    """Path of the interpreter in the base image."""
    group: str | None = None
    """Dependency group of model_server/pyproject.toml; None: the core alone."""
    extras: tuple[str, ...]
    """Extras of model_server/pyproject.toml."""
    base_has: dict[str, str]
    """Distributions in the base image, with their versions."""
    without: tuple[str, ...] = ()
    """Further locked distributions that must not be installed on this base."""
    other_torch: bool = False
    """Whether the base's versions intentionally differ from the locked ones."""
    imports: tuple[str, ...]
    """Modules that must import together in the built image."""
    command: str = "serve"
    """Command of failover-model-server."""
    cuda_compat: bool = False
    environment: dict[str, str] = {}


class Images(_Model):
    """The whole file."""

    bases: dict[str, Base]
    servers: dict[str, Server]

    @model_validator(mode="after")
    def _bases_exist(self) -> "Images":
        for name, server in self.servers.items():
            if server.base not in self.bases:
                raise ValueError(f"servers.{name}.base: there is no base {server.base!r}")
        return self

    def unresolved(self) -> dict[str, Base]:
        """The bases without a digest, by name."""
        return {name: base for name, base in self.bases.items() if not base.resolved}


def parse(text: str) -> Images:
    """Parse the content of the file.

    Raises:
        ValueError: it is invalid; the error names the field.
    """
    return Images.model_validate(yaml.safe_load(text))


def load(path: Path = FILE) -> Images:
    """Read the file. Raises as `parse` does."""
    return parse(path.read_text(encoding="utf-8"))
