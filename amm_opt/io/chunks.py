"""Arrays on disk in the Zarr format, version 3: one file for every chunk along the first axis.

Its files are written here instead of by the ``zarr`` package, which reads them, because a call of that takes 3 ms: ten
arrays in each block of a run would take longer than the run. The format is the published one
(https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html), of which this is the part that runs need: numbers
of 64 bits and texts, chunks that are whole in all axes but the first, Zstandard.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.io.files import replace_bytes

DESCRIPTION = "zarr.json"
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def make_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a folder that holds arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    _describe(folder, {"node_type": "group", "attributes": dict(attributes)})


def write_coordinate(folder: Path, values: IntArray | Sequence[str], dim: str, attributes: Mapping[str, Any]) -> None:
    """Write whole numbers or texts along an axis, in one chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    given = np.asarray(values)
    if numbers := given.dtype.kind == "i":
        content, kind, codec, fill = given.astype("<i8").tobytes(), "int64", _BYTES, 0
    else:
        texts = [str(value).encode("utf-8", "backslashreplace") for value in values]
        content = struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(t)) + t for t in texts)
        kind, codec, fill = "string", {"name": "vlen-utf8"}, 0
    _describe(
        folder,
        {
            "node_type": "array",
            "shape": [len(given)],
            "data_type": kind,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(len(given), 1)]}},
            "fill_value": fill if numbers else "",
            "codecs": [codec, _ZSTD],
            "dimension_names": [dim],
            "attributes": dict(attributes),
        },
    )
    chunk = folder / "c" / "0"
    chunk.parent.mkdir(exist_ok=True)
    replace_bytes(chunk, _compressed(content))


@dataclass(frozen=True)
class ChunkedArray:
    """Numbers in chunks of ``length`` along the first axis; a chunk that was never written holds ``fill``."""

    folder: Path
    shape: tuple[int, ...]
    length: int
    fill: float

    def make(self, dims: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Describe the array on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _describe(
            self.folder,
            {
                "node_type": "array",
                "shape": list(self.shape),
                "data_type": "float64",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self._chunk_shape)}},
                "fill_value": "NaN" if np.isnan(self.fill) else self.fill,
                "codecs": [_BYTES, _ZSTD],
                "dimension_names": list(dims),
                "attributes": dict(attributes),
            },
        )

    @property
    def _chunk_shape(self) -> tuple[int, ...]:
        return (self.length, *(max(size, 1) for size in self.shape[1:]))

    def chunk(self, k: int) -> Path:
        """The file of chunk k."""
        return self.folder.joinpath("c", str(k), *("0" for _ in self.shape[1:]))

    def write(self, k: int, values: FloatArray) -> bytes:
        """Write chunk k at one stroke, the last of which may be shorter, and return what is in its file."""
        whole = np.full(self._chunk_shape, self.fill)
        whole[tuple(slice(0, size) for size in values.shape)] = values
        content = _compressed(whole.astype("<f8", copy=False).tobytes())
        path = self.chunk(k)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, content)
        return content

    def read(self, k: int) -> FloatArray:
        """The numbers of chunk k.

        Raises:
            ValueError: where its file is damaged.
        """
        shape = (min(self.length, self.shape[0] - k * self.length), *self.shape[1:])
        path = self.chunk(k)
        if not path.is_file():
            return np.full(shape, self.fill)
        size = 8 * int(np.prod(self._chunk_shape))
        try:
            content = pa.decompress(path.read_bytes(), decompressed_size=size, codec="zstd")
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        values = np.frombuffer(content, dtype="<f8").reshape(self._chunk_shape)
        return values[tuple(slice(0, size) for size in shape)].astype(float)


def _compressed(content: bytes) -> bytes:
    """In the Zstandard format, with its size."""
    return bytes(pa.Codec("zstd", compression_level=1).compress(content, asbytes=True))


def _describe(folder: Path, description: Mapping[str, Any]) -> None:
    keys = {"name": "default", "configuration": {"separator": "/"}}
    rest = {"chunk_key_encoding": keys} if description["node_type"] == "array" else {}
    text = json.dumps({"zarr_format": 3, **description, **rest}, indent=1)
    replace_bytes(folder / DESCRIPTION, text.encode())
