"""Reading label maps and one-hot arrays of numpy: NPY and NPZ files."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.formats.items import Labels, Size
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size
from hiast.formats.source import Files, stem

_SUFFIXES = (".npy", ".npz")


class ArrayReader:
    """Reads NPY and NPZ files of two kinds.

    - Label map [H, W] of whole numbers, also with one channel: class indices, and 255 or -1 for ignored pixels.
    - One-hot [C, H, W] or [H, W, C] of 0 and 1, with one channel per class; pixels without a 1 are ignored.

    Args:
        path: Folder, or zip file, with one file per image below it.
        classes: Class names in the order of their indices.
        ignored: Not used; arrays hold no names.
        key: Name of the array in NPZ files; None: the only one.

    Raises:
        InputError: There is no such file.
    """

    def __init__(
        self, path: Path | str, classes: Sequence[str], *, ignored: Iterable[str] = (), key: str | None = None
    ) -> None:
        self.classes = NameTable.of(classes, ignored).classes
        self._key = key
        self._files = Files(path)
        self._names: dict[str, str] = {}
        for file in self._files.names(suffix=_SUFFIXES):
            other = self._names.setdefault(stem(file), file)
            if other != file:
                raise InputError(
                    f"{self._files.where(file)} and {other} belong to the same image: keep one of them."
                )
        if not self._names:
            raise InputError(f"{self._files.path} holds no NPY or NPZ files.")

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._names))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The file is missing, damaged, of another size, or holds something else.
        """
        if name not in self._names:
            raise InputError(f"{self._files.path} holds no array of the image '{name}'.")
        where = self._files.where(self._names[name])
        array = _load(self._files.read(self._names[name]), self._key, where)
        return check_size(to_labels(array, len(self.classes), where), size, where)

    def image(self, name: str) -> Path | None:
        """The image beside the array, if there is one."""
        return self._files.image("", name)


def _load(content: bytes, key: str | None, where: str) -> NDArray[Any]:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        names = list(loaded.files)
        if key is None and len(names) != 1:
            raise InputError(
                f"{where} holds the arrays {', '.join(names) or 'none'}: name the one with the labels (key)."
            )
        if key is not None and key not in names:
            raise InputError(f"{where} holds no array '{key}', but {', '.join(names)}.")
        array: NDArray[Any] = loaded[key or names[0]]
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{where} cannot be read as an array ({error}); save it again.") from error
    return array


def to_labels(array: NDArray[Any], classes: int, where: str) -> Labels:
    """Label map of an array.

    Args:
        array: Label map or one-hot array, see ``ArrayReader``.
        classes: Number of classes.
        where: The file, for the message.

    Raises:
        InputError: It is neither.
    """
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"{where} is {array.dtype} {list(array.shape)}; a label map [H, W] or one-hot [C, H, W] is expected."
        )
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]) and classes > 1:
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    return _indices(array, classes, where) if array.ndim == 2 else _one_hot(array, classes, where)


def _indices(array: NDArray[Any], classes: int, where: str) -> Labels:
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise InputError(f"{where} holds fractions where class indices are expected: save whole numbers.")
    known = (array >= 0) & (array < classes)
    ignored = (array == IGNORED) | (array == -1)
    strange = array[~(known | ignored)]
    if strange.size:
        raise InputError(
            f"{where} holds {strange[0]}, which is none of the {classes} classes, nor 255 or -1 for ignored."
        )
    return np.where(known, array, IGNORED).astype(np.uint8)


def _one_hot(array: NDArray[Any], classes: int, where: str) -> Labels:
    if not ((array == 0) | (array == 1)).all():
        raise InputError(
            f"{where} holds other values than 0 and 1: save class indices (the argmax) or one-hot labels."
        )
    fitting = [axis for axis in (0, 2) if array.shape[axis] == classes and (array.sum(axis=axis) <= 1).all()]
    if len(fitting) != 1:
        problem = "could be [C, H, W] or [H, W, C]" if fitting else f"is not one-hot over {classes} classes"
        raise InputError(f"{where} of shape {list(array.shape)} {problem}: save class indices [H, W].")
    labels = array.argmax(axis=fitting[0])
    return np.where(array.any(axis=fitting[0]), labels, IGNORED).astype(np.uint8)
