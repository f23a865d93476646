"""What hiast-predict works on: images and videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hiast.data.io.inputs import find_files, find_images, keep_images, name_files
from hiast.data.io.listing import Pair
from hiast.data.io.sniff import looks_like_image
from hiast.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".mts",
        ".m2ts",
    }
)


@dataclass(frozen=True)
class Inputs:
    """Images and videos, each with a name of its own.

    Attributes:
        images: Images, ordered by name.
        videos: Videos, ordered by name.
    """

    images: tuple[Pair, ...]
    videos: tuple[Pair, ...]


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its suffix, unless its first bytes are those of an image."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not looks_like_image(path)


def find_inputs(source: Path | str) -> Inputs:
    """The images and videos that a path stands for, see ``hiast.data.io.inputs.find_images``.

    Raises:
        InputError: There is none.
    """
    path = Path(source)
    if path.is_file() and is_video(path):
        return Inputs((), (Pair(path.stem, path, None),))
    if path.is_file() and path.suffix.lower() not in (".txt", ".lst", ".list"):
        return Inputs(tuple(find_images(source)), ())
    files, root = find_files(source)
    videos = tuple(name_files([file for file in files if is_video(file)], root))
    others = [file for file in files if not is_video(file)]
    try:
        images = tuple(name_files(keep_images(others, source), root))
    except InputError:
        if not videos:
            raise
        images = ()
    # The frames of a video lie in a folder of its name.
    taken = {name for pair in images for name in (pair.name, *map(str, PurePosixPath(pair.name).parents))}
    videos = tuple(Pair(v.name + v.image.suffix, v.image, None) if v.name in taken else v for v in videos)
    return Inputs(images, videos)
