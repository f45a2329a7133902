"""Where the programs of tests come from, with a Go that builds nothing real."""

from __future__ import annotations

from pathlib import Path

import pytest

from failover_harness.control_plane import binaries
from failover_harness.control_plane.binaries import LBC, Unavailable, from_source, main, tool

_GO = """#!/bin/sh
[ "$1" = env ] && { echo go1.26.8; echo amd64; exit; }
while [ "$1" != -o ]; do shift; done
pwd >"$2"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Go that writes into each program the folder from which it was built."""
    folder, go = tmp_path / "cache", tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(_GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    monkeypatch.setenv("FAILOVER_TEST_CACHE", str(folder))
    for name in ("KUBEBUILDER_ASSETS", "FAILOVER_TEST_BUILD"):
        monkeypatch.delenv(name, raising=False)
    return folder


def _checkout(folder: Path, release: str) -> Path:
    folder.mkdir()
    (folder / "version.txt").write_text(f"{release}\n")
    return folder


def test_a_tool_without_a_module_is_built_once_from_a_checkout(tmp_path: Path) -> None:
    """Every test finds it from then on, without a variable that names it and without its source."""
    source = _checkout(tmp_path / "source", binaries._TOOLS[LBC].release)
    (built,) = main(["--source", str(source)])
    assert built.read_text().strip() == str(source)
    (source / "version.txt").unlink()
    assert tool(LBC) == built


@pytest.mark.parametrize("build", ["", "no"])
def test_without_it_the_message_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    """Also where nothing may be built: the tests say it at the end of the run."""
    monkeypatch.setenv("FAILOVER_TEST_BUILD", build)
    with pytest.raises(Unavailable, match=r"`make programs SOURCE=FOLDER` builds it from a checkout of v\d"):
        tool(LBC)


def test_a_checkout_of_another_release_is_refused(tmp_path: Path, cache: Path) -> None:
    """The cache would name it as the pinned release."""
    with pytest.raises(Unavailable, match=r"has release 2\.1\.0 of aws-load-balancer-controller; check out v"):
        from_source(LBC, _checkout(tmp_path / "source", "2.1.0"))
    with pytest.raises(Unavailable, match=r"is no checkout of aws-load-balancer-controller"):
        from_source(LBC, tmp_path)
    assert not cache.exists()


def test_all_tools_are_those_built_from_modules() -> None:
    """`make programs` needs no checkout."""
    names = {path.name for path in main([])}
    assert LBC not in names
    assert names > {"etcd", "kube-apiserver", "helm", "karpenter"}
