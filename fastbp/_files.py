"""Writing a file so that its old content stays until the new one is whole on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

# O_BINARY exists on Windows only
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it takes effect when the block ends without an exception.

    A temporary file in the same folder is written, fsynced and renamed over `path`, which keeps
    its permissions; a symbolic link keeps pointing to the file it names. After any exception the
    temporary is gone and `path` is what it was.

    Raises:
        OSError: as `open` does.
        ValueError: `path` exists and is neither a file nor a folder.
    """
    target = os.path.realpath(os.fsdecode(path))
    mode = _mode_of(target, os.fsdecode(path))
    temporary = os.path.join(os.path.dirname(target), f".fastbp-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, _NEW_FILE, 0o666)
    except OSError as error:
        error.filename = os.fsdecode(path)
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise what `atomic_write` would raise for a bad path, before any work goes into the file."""
    target = os.path.realpath(os.fsdecode(path))
    _mode_of(target, os.fsdecode(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def _mode_of(target: str, shown: str) -> int | None:
    """Permissions of the file to replace; None where there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), shown)
    if not stat.S_ISREG(mode):
        raise ValueError(f"{shown} is not an ordinary file; give the name of one, or of a new one")
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
