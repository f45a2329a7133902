"""Whether weights on the disk are whole: readable headers, and every shard that the index names."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from failover_model_server.download.files import RemoteFile
from failover_model_server.download.weights import is_index
from failover_model_server.errors import LoadError


def weights(directory: Path, files: Iterable[RemoteFile]) -> None:
    """Check the weights among files of a model.

    Raises:
        LoadError: a file is cut off or no safetensors, or an index names a file that is not there.
    """
    for file in files:
        path = directory / file.path
        if file.name.endswith(".safetensors"):
            _header(path, file.path)
        elif is_index(file.name):
            _shards(path, file.path)


def _header(path: Path, name: str) -> None:
    try:
        # The header says where every tensor lies; opening fails unless these places fill the file exactly.
        with safe_open(path, framework="numpy") as opened:
            tensors = len(list(opened.keys()))
    except (SafetensorError, OSError, ValueError) as error:
        raise LoadError(f"model: {name} is cut off or no safetensors file: {error}") from error
    if not tensors:
        raise LoadError(f"model: {name} holds no tensor")


def _shards(path: Path, name: str) -> None:
    try:
        shards = set(json.loads(path.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"model: {name} is no index of shards ({type(error).__name__}: {error})") from error
    for shard in sorted(map(str, shards)):
        if "/" in shard or not (path.parent / shard).is_file():
            raise LoadError(f"model: {name} names {shard}, which is missing")
