"""Arrays on disk in the Zarr format, version 3, by the ``zarr`` package: a file for every chunk along the first axis.

``zarr`` writes every file under another name and renames it, so that there is all of it or nothing. It is imported when
the first array is made or read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    import zarr

DESCRIPTION = "zarr.json"
DRAFT = ".partial"
"""At the end of the name of a file that ``zarr`` has not finished."""


def make_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a folder that holds arrays; drafts of a process that was killed are removed."""
    import zarr

    for draft in folder.rglob(f"*{DRAFT}"):
        draft.unlink()
    (folder / DESCRIPTION).unlink(missing_ok=True)
    zarr.create_group(folder, zarr_format=3, attributes=dict(attributes))


def write_coordinate(folder: Path, values: IntArray | Sequence[str], dim: str, attributes: Mapping[str, Any]) -> None:
    """Write whole numbers or texts along an axis, in one chunk."""
    kind: Any
    fill: Any
    if isinstance(values, np.ndarray):
        kind, given, fill = np.int64, values, 0
    else:
        texts = [text.encode("utf-8", "backslashreplace").decode() for text in values]
        kind, given, fill = str, np.array(texts, dtype=np.dtypes.StringDType()), ""
    array = _created(folder, given.shape, len(given), kind, fill, [dim], attributes)
    if len(given):
        array[:] = given


@dataclass(frozen=True)
class ChunkedArray:
    """Numbers in chunks of ``length`` along the first axis; a chunk that was never written holds ``fill``."""

    folder: Path
    shape: tuple[int, ...]
    length: int
    fill: float

    def make(self, dims: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Describe the array on disk; chunks that are there stay."""
        _created(self.folder, self.shape, self.length, np.float64, self.fill, dims, attributes)

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        import zarr

        return zarr.open_array(self.folder, mode="r+").with_config({"write_empty_chunks": True})

    def chunk(self, k: int) -> Path:
        """The file of chunk k."""
        return self.folder.joinpath("c", str(k), *("0" for _ in self.shape[1:]))

    def write(self, k: int, values: FloatArray) -> bytes | None:
        """Write chunk k at one stroke, the last of which may be shorter.

        Returns:
            What is in its file; None where the array has no numbers, and no file.
        """
        if not values.size:
            return None
        start = k * self.length
        self._array[start : start + len(values)] = values
        return self.chunk(k).read_bytes()

    def read(self, start: int, stop: int) -> FloatArray:
        """Entries ``start .. stop - 1`` along the first axis.

        Raises:
            ValueError: where a file is damaged.
        """
        try:
            return np.asarray(self._array[start:stop], dtype=float)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{self.folder} is damaged: {error}") from error


def _created(
    folder: Path,
    shape: tuple[int, ...],
    length: int,
    dtype: Any,
    fill: Any,
    dims: Sequence[str],
    attributes: Mapping[str, Any],
) -> zarr.Array[Any]:
    import zarr
    from zarr.codecs import ZstdCodec

    (folder / DESCRIPTION).unlink(missing_ok=True)
    return zarr.create_array(
        folder,
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(size, 1) for size in (length, *shape[1:])),
        compressors=[ZstdCodec(level=1, checksum=False)],
        fill_value=fill,
        zarr_format=3,
        dimension_names=list(dims),
        attributes=dict(attributes),
    )
