"""Writing a file so that its old content stays until the new one is whole on the disk.

The new content goes into `.fastbp-….tmp` in the same folder, which is renamed at the end. As long
as it is written, its process holds a lock on it (flock); the system drops the lock when the process
ends, however it ends. A file of that name without a lock is what a killed process left.
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

if sys.platform != "win32":  # there are no locks on Windows: what a killed process left stays
    import fcntl

# O_BINARY exists on Windows only
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_PREFIX, _SUFFIX = ".fastbp-", ".tmp"
_swept: set[str] = set()  # folders in which this process has looked for what others left


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it takes effect when the block ends without an exception.

    A temporary file in the same folder is written, fsynced and renamed over `path`, which keeps
    its permissions; a symbolic link keeps pointing to the file it names. After any exception the
    temporary is gone and `path` is what it was. Then the folder is fsynced, so that the rename
    outlasts a power cut; where the system refuses that, the file is written nonetheless.

    Raises:
        OSError: as `open` does; it names `path`.
        ValueError: `path` exists and is neither a file nor a folder.
    """
    shown = os.fsdecode(path)
    target = os.path.realpath(shown)
    folder = os.path.dirname(target)
    mode = _mode_of(target, shown)
    if folder not in _swept:
        sweep(folder)
    with naming(shown), contextlib.ExitStack() as held:
        descriptor, temporary = _create(folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if sys.platform != "win32":  # another descriptor of the same lock, for the rename
                    held.callback(_close, os.dup(descriptor))
                if mode is not None:
                    os.chmod(temporary, mode)
                yield file
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            _unlink(temporary)
            raise
    _sync_folder(folder)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise what `atomic_write` would raise for a bad path, before any work goes into the file.

    A temporary file is made in the folder, for nothing else tells whether one can be.
    """
    shown = os.fsdecode(path)
    target = os.path.realpath(shown)
    _mode_of(target, shown)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
    with naming(folder):
        descriptor, temporary = _create(folder)
        _close(descriptor)
        _unlink(temporary)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove from a folder the temporary files of processes that were killed.

    Those of live processes are locked, and stay. What cannot be looked at is passed over.
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
    """Let every OSError of the block that names no file, such as that of a full disk, name one."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None or _is_temporary(error.filename)
        if error.errno is None or not nameless:
            raise
        raise OSError(error.errno, error.strerror, name) from error


# ---- temporary files ----------------------------------------------------------------------


def _is_temporary(path: object) -> bool:
    """Whether a path, or whatever else an OSError calls its file, is that of a temporary file."""
    if not isinstance(path, str):
        return False
    name = os.path.basename(path)
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _create(folder: str) -> tuple[int, str]:
    """A new temporary file, locked where the file system has locks: (descriptor, path)."""
    while True:
        path = os.path.join(folder, f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
        descriptor = os.open(path, _NEW_FILE, 0o666)
        try:
            if _lock(descriptor, path):
                return descriptor, path
        except BaseException:
            _close(descriptor)
            _unlink(path)
            raise
        _close(descriptor)  # a sweep was there first, and removes it


def _lock(descriptor: int, path: str) -> bool:
    """Lock a file that has been made; False where a sweep has taken it for one left behind."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here: a sweep gets none either, and removes nothing
    return os.path.exists(path)


def _remove_unlocked(path: str) -> None:
    """Remove an ordinary file unless somebody holds a lock on it. OSError where it stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(descriptor)


def _close(descriptor: int) -> None:
    """Close a descriptor through which nothing was written."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


# ---- the target ---------------------------------------------------------------------------


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
    """Make the rename itself durable, where the system lets a folder be opened and fsynced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
