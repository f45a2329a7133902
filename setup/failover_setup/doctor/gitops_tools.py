"""The GitOps tools whose configuration `failoverctl doctor --gitops` prints. `--help` lists them and needs nothing else."""

from __future__ import annotations

from enum import StrEnum


class GitOps(StrEnum):
    """The supported tools."""

    ARGOCD = "argocd"
    FLUX = "flux"
