"""Whether weights on the disk are whole: readable headers, and every shard that the index names."""

import json
from collections.abc import Iterable
from pathlib import Path

from failover_model_server.download.files import RemoteFile
from failover_model_server.download.weights import is_index
from failover_model_server.errors import LoadError

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own library."""
LONGEST_NAME = 255
"""Characters of a file's name that are shown; file systems allow no more."""


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
    """Read the header, which says where every tensor lies: https://huggingface.co/docs/safetensors, "Format".

    The library would need numpy for this, which the core does without.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(size - 8, LARGEST_HEADER):
            raise LoadError(f"model: {name} is cut off or no safetensors file: its header would be of {length} bytes, the file has {size}")
        try:
            tensors = [value for key, value in json.loads(stream.read(length)).items() if key != "__metadata__"]
            end = 8 + length + max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise LoadError(f"model: {name} is no safetensors file: its header cannot be read ({type(error).__name__})") from error
    if not tensors:
        raise LoadError(f"model: {name} holds no tensor")
    if end != size:
        raise LoadError(f"model: {name} is cut off: its tensors end at byte {end}, the file has {size}")


def _shards(path: Path, name: str) -> None:
    try:
        shards = set(json.loads(path.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoadError(f"model: {name} is no index of shards ({type(error).__name__}: {error})") from error
    for shard in sorted(map(str, shards)):
        if "/" in shard or not _is_file(path.parent / shard):
            raise LoadError(f"model: {name} names {shard[:LONGEST_NAME]}, which is missing")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # its name is longer than a file system allows
