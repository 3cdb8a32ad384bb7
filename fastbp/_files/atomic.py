"""Write a file such that the old content stays until the new content is completely on the disk.

The new content is written to a temporary file `.fastbp-….tmp` in the same folder, which is renamed
at the end. While a process writes the temporary file, it holds a lock on it (flock). The system
releases the lock when the process ends, for whatever reason. So a temporary file without a lock was
left behind by a process that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

if sys.platform != "win32":  # Windows has no flock, so temporary files left behind stay there
    import fcntl

# O_BINARY exists only on Windows
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_CLOSED = -1  # in place of a descriptor
_USUAL, _PRIVATE = 0o666, 0o600  # permissions: as `open` gives them, and for the owner only
_PREFIX, _SUFFIX = ".fastbp-", ".tmp"
_swept: set[str] = set()  # folders in which this process has already removed old temporary files


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; the file is replaced if the block ends without an exception.

    The bytes go to a temporary file in the same folder. At the end, that file is fsynced and
    renamed to `path`, and the folder is fsynced, so the new content survives a power failure. (If
    the system does not allow to fsync a folder, the file is written all the same.) The permissions
    of an existing file are kept, and a symbolic link still points to the same file. After an
    exception, the temporary file is removed and `path` is unchanged.

    Raises
    ------
    OSError
        As `open` raises it; its `filename` is `path`.
    ValueError
        `path` exists and is neither a file nor a folder.
    """
    shown = os.fsdecode(path)
    target = os.path.realpath(shown)
    folder = os.path.dirname(target)
    mode = _mode_of(target, shown)
    if folder not in _swept:
        sweep(folder)
    with naming(shown):
        # A file that gets the permissions of an old one is private until then.
        descriptor, temporary = _create(folder, _USUAL if mode is None else _PRIVATE)
        second = _CLOSED
        try:
            if sys.platform != "win32":
                second = os.dup(descriptor)  # keeps the lock until the file has been renamed
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                if mode is not None:
                    _set_mode(descriptor, temporary, mode)
                yield file
                file.flush()
                os.fsync(descriptor)
            first, descriptor = descriptor, _CLOSED
            os.close(first)
            os.replace(temporary, target)
        except BaseException:
            _close(descriptor)
            _unlink(temporary)
            raise
        finally:
            _close(second)
    _sync_folder(folder)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8; the file is replaced as `atomic_write` does it."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the exception that `atomic_write` would raise for this path, before any other work.

    The function creates and removes a temporary file in the folder: there is no other reliable way
    to find out whether that is possible.
    """
    shown = os.fsdecode(path)
    target = os.path.realpath(shown)
    _mode_of(target, shown)
    folder = os.path.dirname(target)
    with naming(folder):
        try:
            os.stat(folder)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "no such folder", folder) from None
        descriptor, temporary = _create(folder, _PRIVATE)
        _close(descriptor)
        _unlink(temporary)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes left in a folder.

    The files of running processes are locked and stay. Files that cannot be opened stay too.
    """
    folder = os.path.realpath(os.fsdecode(folder))
    _swept.add(folder)
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for path in [entry.path for entry in entries if _is_temporary(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_unlocked(path)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Set `filename` of each OSError in the block that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None or _is_temporary(error.filename)
        if error.errno is None or not nameless:
            raise
        raise OSError(error.errno, error.strerror, name) from error


# ---- temporary files ----------------------------------------------------------------------


def _is_temporary(path: object) -> bool:
    """Whether `path`, the `filename` of an OSError, is the path of a temporary file."""
    if not isinstance(path, str):
        return False
    name = os.path.basename(path)
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _create(folder: str, mode: int) -> tuple[int, str]:
    """Create a temporary file, locked if the file system has locks; return (descriptor, path).

    The umask of the process takes permissions from `mode`.
    """
    while True:
        path = os.path.join(folder, f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
        descriptor = os.open(path, _NEW_FILE, mode)
        try:
            if _lock(descriptor, path):
                return descriptor, path
        except BaseException:
            _close(descriptor)
            _unlink(path)
            raise
        _close(descriptor)  # a sweep has locked the file first, and removes it


def _lock(descriptor: int, path: str) -> bool:
    """Lock a new file; return False if a sweep has already taken it for a file left behind."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # the file system has no locks, so a sweep gets none and removes nothing
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _remove_unlocked(path: str) -> None:
    """Remove a regular file unless a process holds a lock on it; OSError if it stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(descriptor)


# These two need no memory, as far as that is possible: they run after a MemoryError, too.


def _close(descriptor: int) -> None:
    """Close a descriptor, unless it is `_CLOSED`; errors do not matter."""
    try:
        if descriptor != _CLOSED:
            os.close(descriptor)
    except OSError:
        return


def _unlink(path: str) -> None:
    """Remove a file, if that is possible."""
    try:
        os.unlink(path)
    except OSError:
        return


# ---- the target ---------------------------------------------------------------------------


def _mode_of(target: str, shown: str) -> int | None:
    """Return the permissions of the file that will be replaced, or None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), shown)
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{shown} is not a regular file; give the name of a regular or of a new file"
        )
    return stat.S_IMODE(mode)


def _set_mode(descriptor: int, path: str, mode: int) -> None:
    """Give an open file permissions; by its path where the system has no other way."""
    if hasattr(os, "fchmod"):  # whose errors name no file, while those of chmod name a descriptor
        os.fchmod(descriptor, mode)
    else:
        os.chmod(path, mode)


def _sync_folder(folder: str) -> None:
    """Make the rename durable, if the system allows to open and fsync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
