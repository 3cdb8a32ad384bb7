"""A file is written completely or not at all, even after errors, full disks and signals."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

import fastbp
from fastbp._cli.main import main
from fastbp._files import atomic as _files
from fastbp._files.atomic import atomic_write, check_writable, naming, sweep
from fastbp._training.checkpoints import Checkpoints
from fastbp.callbacks import CSVLogger
from fastbp.optim import Adam

pytestmark = pytest.mark.once

POSIX = os.name == "posix"
needs_locks = pytest.mark.skipif(not POSIX, reason="Windows has no flock, so leftover files stay")


class Failing:
    """Replaces a module or a file; the `at`-th call of a function fails with `code`."""

    def __init__(self, real, at, code, log):
        self._real, self._at, self._code, self._log = real, at, code, log

    def __getattr__(self, name):
        value = getattr(self._real, name)
        if name in ("fsdecode", "strerror") or isinstance(value, type) or not callable(value):
            return value

        def call(*arguments, **keywords):
            self._log.append(name)
            if len(self._log) == self._at:
                if name == "close":  # close frees the descriptor even if it fails
                    value(*arguments)
                numbered = name == "chmod"  # its error names even a descriptor
                names = [each for each in arguments[:1] if isinstance(each, str) or numbered]
                raise OSError(self._code, os.strerror(self._code), *names)
            found = value(*arguments, **keywords)
            return Failing(found, self._at, self._code, self._log) if name == "fdopen" else found

        return call

    def __enter__(self):
        self._real.__enter__()
        return self

    def __exit__(self, *raised):
        self.close()


ERRORS = {name: getattr(errno, name) for name in ("EIO", "EINVAL", "ENOSPC", "EXDEV", "EACCES")}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("exists", [False, True])
def test_any_call_may_fail(tmp_path, monkeypatch, name, exists):
    """After an exception, the file at the path is unchanged, and the message names it."""
    path, code = tmp_path.resolve() / "file", ERRORS[name]
    seen = []
    for at in range(1, 100):
        path.unlink(missing_ok=True)
        if exists:
            path.write_bytes(b"old")
        log = []
        with monkeypatch.context() as patch:
            for module in ("os", "fcntl") if POSIX else ("os",):
                real = getattr(_files, module)
                patch.setattr(_files, module, Failing(real, at, code, log))
            patch.setattr(_files, "_swept", set())
            try:
                with atomic_write(path) as file:
                    file.write(b"n")
                    file.write(b"ew")
                failed = None
            except OSError as error:
                failed = error
        if failed is None:
            assert path.read_bytes() == b"new"
        else:
            assert (failed.errno, failed.filename) == (code, str(path)), log
            assert (path.read_bytes() if path.exists() else None) == (b"old" if exists else None)
            seen.append(log[at - 1])
        assert [each.name for each in tmp_path.iterdir()] == (["file"] if path.exists() else [])
        if len(log) < at:
            break
    assert {"open", "write", "flush", "fsync", "close", "replace"} <= set(seen)
    assert not exists or {"chmod", "fchmod"} & set(seen)
    assert at < 100 and seen.count("fsync") == 1  # an error of fsync of the folder is ignored


def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch):
    """Some file systems refuse fsync of a folder, and a folder with mode 0300 cannot be opened."""
    real_fsync, real_open = os.fsync, os.open

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    def open_(path, *arguments):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *arguments)

    net = fastbp.Network((2, 1), seed=0)
    for name, function in (("fsync", fsync), ("open", open_)):
        with monkeypatch.context() as patch:
            patch.setattr(f"fastbp._files.atomic.os.{name}", function)
            net.save(tmp_path / name)
        assert fastbp.load(tmp_path / name).theta.tobytes() == net.theta.tobytes(), name


# ---- messages -----------------------------------------------------------------------------


def test_naming_the_file_keeps_other_names_and_types_of_errors():
    with pytest.raises(FileNotFoundError) as caught, naming("here"):
        raise OSError(errno.ENOENT, "No such file", "there")
    assert caught.value.filename == "there"
    with pytest.raises(BrokenPipeError) as caught, naming("here"):
        raise OSError(errno.EPIPE, "Broken pipe")
    assert caught.value.filename == "here"
    with pytest.raises(OSError) as caught, naming("here"):
        raise OSError(errno.EBADF, "Bad file descriptor", 3)
    assert caught.value.filename == 3
    with pytest.raises(OSError, match="^not one of the system's$"), naming("here"):
        raise OSError("not one of the system's")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_names_the_file(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    net = fastbp.Network((2, 1), seed=0)
    X, y = np.ones((3, 2)), np.ones((3, 1))
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        net.fit(X, y, epochs=1, callbacks=[CSVLogger("/dev/full")])
    net.save("net")
    np.save("x.npy", X)
    assert main(["predict", "net", "x.npy", "-o", "/dev/full"]) == 1
    assert capsys.readouterr().err == "fastbp: error: /dev/full: No space left on device\n"
    command = [sys.executable, "-m", "fastbp", "predict", "net", "x.npy"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "fastbp: error: standard output: No space left on device\n"


@pytest.mark.skipif(not POSIX, reason="no limit on the size of a file")
@pytest.mark.parametrize(
    "write",
    [
        "net.save('out')",
        "fastbp.optim.Adam().save('out')",
        "fastbp.export.c(net, 'out')",
        "net.fit(X, X, epochs=1, checkpoint='.')",
        "fastbp._cli.main.main(['predict', 'net', 'x.npy', '-o', 'out'])",
    ],
)
def test_a_file_that_cannot_grow_is_named(tmp_path, write):
    fastbp.Network((100, 100), seed=0).save(tmp_path / "net")
    np.save(tmp_path / "x.npy", np.ones((900, 100)))
    code = (
        "import resource, numpy as np, fastbp, fastbp._cli.main, fastbp.export\n"
        "net, X = fastbp.load('net'), np.ones((2, 100))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"{write}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    name = "checkpoint-1.safetensors" if "checkpoint" in write else "out"
    assert last.endswith((f"File too large: '{name}'", f"{name}: File too large")), last
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net", "x.npy"]


# ---- kills --------------------------------------------------------------------------------

CHILD = """
import sys
from fastbp._files.atomic import atomic_write
with atomic_write({path!r}) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""
LOOP = """
import fastbp
net = fastbp.Network((50, 50), seed=0)
while True:
    net.save({path!r})
"""


def child(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", code.format(path=str(path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kill(process):
    process.send_signal(signal.SIGKILL if POSIX else signal.SIGTERM)
    process.communicate()


def left_in(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".fastbp-")]


@needs_locks
def test_leftover_files_are_removed_and_files_in_use_are_not(tmp_path):
    dead, live = child(CHILD, tmp_path / "a"), child(CHILD, tmp_path / "b")
    try:
        assert dead.stdout.readline() == live.stdout.readline() == b"ready\n"
        kill(dead)
        assert len(left_in(tmp_path)) == 2
        sweep(tmp_path)
        assert len(left_in(tmp_path)) == 1
        with atomic_write(tmp_path / "c"):
            sweep(tmp_path)
            assert len(left_in(tmp_path)) == 2
        live.communicate(b"go on")
        assert live.returncode == 0 and (tmp_path / "b").read_bytes() == b"half"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    finally:
        kill(live)


@needs_locks
def test_killed_at_any_time(tmp_path, monkeypatch):
    """The file is complete after every kill, and the next process removes leftover files."""
    path = tmp_path / "net"
    for turn in range(8):
        process = child(LOOP, path)
        while not path.exists():
            time.sleep(0.005)
        time.sleep(0.005 * turn)
        kill(process)
        fastbp.load(path)
        path.unlink()
    Checkpoints(tmp_path, "1 epoch", "auto")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".fastbp-0123456789abcdef.tmp").write_bytes(b"of some kill")
    monkeypatch.setattr(_files, "_swept", set())  # as in a new process
    fastbp.Network((2, 1), seed=0).save(path)
    assert list(tmp_path.iterdir()) == [path]


@needs_locks
def test_a_sweep_removes_only_regular_files_with_such_names(tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(b"")
    (tmp_path / ".fastbp-link.tmp").symlink_to(kept)
    (tmp_path / ".fastbp-folder.tmp").mkdir()
    os.mkfifo(tmp_path / ".fastbp-pipe.tmp")
    (tmp_path / ".fastbp-file").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    sweep(tmp_path / "none")


@needs_locks
def test_a_file_removed_by_a_sweep_is_created_again(tmp_path, monkeypatch):
    """The sweep happens after the file is created and before it is locked."""
    real, turns = _files.fcntl.flock, iter([BlockingIOError(), "removed"])

    def flock(descriptor, kind):
        turn = next(turns, None)
        if isinstance(turn, OSError):
            raise turn
        real(descriptor, kind)
        if turn == "removed":
            for path in left_in(tmp_path):
                path.unlink()

    monkeypatch.setattr("fastbp._files.atomic.fcntl.flock", flock)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@needs_locks
def test_a_new_file_that_cannot_be_looked_at_is_not_left_behind(tmp_path, monkeypatch):
    real = os.stat

    def stat_(path, **options):
        if _files._is_temporary(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, **options)

    monkeypatch.setattr("fastbp._files.atomic.os.stat", stat_)
    with (
        pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught,
        atomic_write(tmp_path / "a"),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def flock(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fastbp._files.atomic.fcntl.flock", flock)
    with atomic_write(tmp_path / "a") as file:
        sweep(tmp_path)
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


# ---- checks before training ---------------------------------------------------------------


def refuse_new_files(monkeypatch, code):
    """As on a read-only file system or without permission; also for root."""
    real = os.open

    def open_(path, flags, *arguments):
        if flags & os.O_CREAT:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *arguments)

    monkeypatch.setattr("fastbp._files.atomic.os.open", open_)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_unwritable_folder_is_refused_before_training(tmp_path, monkeypatch, code):
    net, optimizer = fastbp.Network((2, 1), seed=0), Adam()
    theta = net.theta.copy()
    refuse_new_files(monkeypatch, code)
    X = np.ones((3, 2))
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        net.fit(X, X[:, :1], epochs=3, optimizer=optimizer, checkpoint=tmp_path)
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path))
    assert optimizer.t == 0 and net.theta.tobytes() == theta.tobytes()
    with pytest.raises(OSError, match=os.strerror(code)):
        check_writable(tmp_path / "model")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_folder_that_cannot_be_looked_at_is_not_called_missing(tmp_path, monkeypatch, code):
    real = os.stat

    def stat_(path, **options):
        if path == str(tmp_path):
            raise OSError(code, os.strerror(code), path)
        return real(path, **options)

    monkeypatch.setattr("fastbp._files.atomic.os.stat", stat_)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        check_writable(tmp_path / "model")
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path))


def test_a_folder_in_place_of_a_checkpoint_is_refused_before_training(tmp_path):
    (tmp_path / "checkpoint-1.safetensors").mkdir()
    optimizer = Adam()
    with pytest.raises(IsADirectoryError, match="checkpoint-1"):
        fastbp.Network((2, 1), seed=0).fit(
            np.ones((3, 2)), np.ones(3), optimizer=optimizer, checkpoint=tmp_path
        )
    assert optimizer.t == 0


def test_predict_checks_its_output_before_it_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "no model", "no data", "-o", "no folder/out.csv"]) == 1
    assert capsys.readouterr().err.endswith("no folder: no such folder\n")


def test_a_failed_checkpoint_keeps_the_other_one(tmp_path, monkeypatch):
    files = Checkpoints(tmp_path, "1 epoch", "auto")
    files.read()
    files.save({"a": 1}, 1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("fastbp._files.atomic.os.fsync", full)
        for _ in range(2):
            with pytest.raises(OSError, match="checkpoint-0.safetensors"):
                files.save({"a": 2}, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1.safetensors"]
