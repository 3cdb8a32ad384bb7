"""A line between ranks by which all learn within seconds that one of them has ended.

MPI leaves the others waiting for a rank that was killed, unless the launcher ends them. So every
rank keeps a TCP connection to rank 0, and a thread waits for its end. A rank that closes in order
says so first. When a connection ends without that, the whole job ends, with one line on stderr.

The two ends of a connection prove to each other that they know a random key that rank 0 has sent
through MPI. Afterwards the only messages are `_BYE`, `_ENDING`, and `_GIVEN_UP` with a line.
"""

from __future__ import annotations

import errno
import faulthandler
import hmac
import os
import secrets
import selectors
import socket
import struct
import threading
import time
import traceback
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self
from weakref import WeakSet

from .._messages import readable
from .ranks import Ranks

_BYE = b"B"  # this rank closes in order
_ENDING = b"E"  # from rank 0: the job ends, and the line has been written
_GIVEN_UP = b"G"  # followed by text and a line break

_TO_CONNECT = 30.0  # seconds until all ranks have to be connected
_TO_TRY = 5.0  # seconds for one address, and for one proof
_TO_ABORT = 2.0  # seconds until a process ends itself if MPI does not end it
_SILENCE = (5, 2, 3)  # seconds until a silent connection is probed, and between probes; probes
_PROOF = 32  # bytes of HMAC-SHA256
_VANISHED = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}


class _Place(NamedTuple):
    """Where a rank runs."""

    host: str
    boot: str  # tells machines of the same name apart
    pid: int


class Lifeline:
    """Ends the job of a communicator when one of its ranks ends without `close`.

    With one rank, it does nothing. As a context manager, it closes itself.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator. Every one of its ranks makes a `Lifeline` of it; all wait until they are
        connected.

    Raises
    ------
    OSError
        On all ranks, if one of them cannot be connected with rank 0. The message names it.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._rank, self._size = int(comm.Get_rank()), int(comm.Get_size())
        self._peers: dict[int, socket.socket] = {}  # by rank; for all ranks but 0, only rank 0
        self._others: list[socket.socket] = []  # the listener, and both ends of the alarm
        self._thread: threading.Thread | None = None
        self._claim = threading.Lock()  # held for ever by the thread that ends the job
        if self._size == 1:
            return
        _lifelines.add(self)  # before there is a socket that the child of a fork would inherit
        ranks = Ranks(comm)
        try:
            self._places: list[_Place] = ranks.agree(_place)
            key, port, addresses = ranks.lead(self._listen)
            ranks.agree(lambda: self._connect(key, port, addresses))
            self._wake, self._alarm = socket.socketpair()
        except BaseException:
            self._drop()
            raise
        finally:
            ranks.close()
        self._others = [self._wake, self._alarm]
        self._thread = threading.Thread(target=self._watch, name="fastbp-lifeline", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave in order; the other ranks may go on. It waits for nobody and may be repeated."""
        if self._thread is None:
            return
        self._wake.send(b"\0")
        self._thread.join()
        self._thread = None
        for peer in self._peers.values():
            _send(peer, _BYE)
        self._drop()

    def fail(self, error: BaseException) -> None:
        """End the job because of an error that no other rank knows, with its traceback first."""
        if self._size > 1:
            traceback.print_exception(error)
        self.give_up(f"{type(error).__name__}: {error}")

    def give_up(self, message: str) -> None:
        """End the job because of an error of this rank; with more than one rank, never return.

        Standard error gets one line, `fastbp: rank 1 of 4 (host): message; the job ends`.
        """
        if self._size == 1:
            return
        text = f"rank {self._rank} of {self._size} ({self._places[self._rank].host}): {message}"
        text = " ".join(readable(text).split())
        told = text.encode("utf-8", "replace") + b"\n"
        if self._rank > 0 and 0 in self._peers and _send(self._peers[0], _GIVEN_UP + told):
            time.sleep(_TO_ABORT)  # rank 0 ends the job
        self._end(text)

    # ---- set-up ---------------------------------------------------------------------------

    def _listen(self) -> tuple[bytes, int, list[str]]:
        """On rank 0: listen; return the key of this line, the port and addresses to try."""
        here, *others = self._places
        away = [place for place in others if place[:2] != here[:2]]
        listener = _listener("" if away else "127.0.0.1", self._size)
        self._others = [listener]
        addresses = _addresses(here.host, {place.host for place in away}) if away else []
        return secrets.token_bytes(_PROOF), listener.getsockname()[1], addresses

    def _connect(self, key: bytes, port: int, addresses: list[str]) -> None:
        if self._rank == 0:
            self._accept(key)
        else:
            if self._places[self._rank][:2] == self._places[0][:2]:
                addresses = ["127.0.0.1", *addresses]
            self._peers[0] = self._call(key, port, addresses)
        for peer in self._peers.values():
            _keep_alive(peer)

    def _accept(self, key: bytes) -> None:
        """On rank 0: accept connections until each other rank has proved that it knows the key."""
        (listener,) = self._others
        until = time.monotonic() + _TO_CONNECT
        while len(self._peers) < self._size - 1:
            listener.settimeout(max(until - time.monotonic(), 0.001))
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                raise self._missing() from None
            try:
                rank = _welcome(peer, key, self._size)
            except OSError:  # a stranger, or a rank that has given up meanwhile
                peer.close()
                continue
            if rank in self._peers:
                self._peers[rank].close()
            self._peers[rank] = peer
        listener.close()
        self._others = []

    def _missing(self) -> OSError:
        missing = [rank for rank in range(1, self._size) if rank not in self._peers]
        where = ", ".join(f"{rank} ({self._places[rank].host})" for rank in missing[:4])
        return TimeoutError(
            f"no TCP connection within {_TO_CONNECT:.0f} s from rank {where}"
            f"{' and others' if len(missing) > 4 else ''}; fits on several ranks need TCP "
            f"connections to the host of rank 0, {self._places[0].host}: allow them in its firewall"
        )

    def _call(self, key: bytes, port: int, addresses: list[str]) -> socket.socket:
        """On other ranks: connect with rank 0 at the first address that works."""
        failed: list[str] = []
        until = time.monotonic() + _TO_CONNECT
        for address in addresses:
            seconds = min(_TO_TRY, until - time.monotonic())
            if seconds <= 0:
                break
            try:
                peer = socket.create_connection((address, port), timeout=seconds)
            except OSError as error:
                failed.append(f"{address}: {error}")
                continue
            try:
                _introduce(peer, key, self._rank)
                return peer
            except OSError as error:
                peer.close()
                failed.append(f"{address}: {error}")
        raise ConnectionError(
            f"no TCP connection to rank 0 (host {self._places[0].host}, port {port}); tried "
            f"{'; '.join(failed)}. Fits on several ranks need TCP connections to the host of "
            "rank 0: allow them in its firewall"
        )

    # ---- afterwards -----------------------------------------------------------------------

    def _watch(self) -> None:
        """The thread: wait until `close`, or until all peers have left in order."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._alarm, selectors.EVENT_READ)
            for rank, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, rank)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    if not self._hear(key.data, self._peers[key.data]):
                        selector.unregister(key.fileobj)

    def _hear(self, rank: int, peer: socket.socket) -> bool:
        """Read what a peer says, or that it has ended; False if it has left in order."""
        try:
            said = peer.recv(1)
        except OSError as error:
            if error.errno in _VANISHED:
                self._lost(rank, "does not answer, perhaps its host or the network is down")
            said = b""
        if said == _BYE:
            return False
        if said == _GIVEN_UP:
            self._end(_line(peer))
        if said == _ENDING:
            self._wait_for_the_end()
        self._lost(rank, "has ended without a word, perhaps killed or out of memory")

    def _lost(self, rank: int, what: str) -> NoReturn:
        """End the job because a rank has ended.

        If it is rank 0, all others notice. Rank 1 acts at once; the others follow one by one, in
        case that those before them are gone too.
        """
        place = self._places[rank]
        if self._rank > 1:
            time.sleep(min(1 + 0.05 * self._rank, 4))
        self._end(f"rank {rank} of {self._size} on host {place.host} (pid {place.pid}) {what}")

    def _end(self, text: str) -> NoReturn:
        """Write the line and end the job. Only the first thread that comes here does so."""
        if not self._claim.acquire(blocking=False):
            self._wait_for_the_end()
        try:
            os.write(2, f"fastbp: {text}; the job ends\n".encode("utf-8", "replace"))
        except OSError:  # nobody can read it
            pass
        if self._rank == 0:
            for peer in self._peers.values():
                _send(peer, _ENDING)
        _exit_later()
        try:
            self._comm.Abort(1)
        finally:
            os._exit(1)

    def _wait_for_the_end(self) -> NoReturn:
        """Wait to be ended by MPI, and end after a while in any case."""
        self._claim.acquire(blocking=False)  # the line has been written
        _exit_later()
        time.sleep(_TO_ABORT)
        os._exit(1)

    def _drop(self) -> None:
        """Close all sockets, without a word to the peers."""
        for each in (*self._peers.values(), *self._others):
            each.close()
        self._peers, self._others = {}, []
        _lifelines.discard(self)


# ---- processes ----------------------------------------------------------------------------

_lifelines: WeakSet[Lifeline] = WeakSet()


def _drop_in_child() -> None:
    """A forked child has copies of the sockets: the connections would outlive their rank."""
    for lifeline in list(_lifelines):
        lifeline._thread = None  # there is none in the child
        lifeline._drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)


def _exit_later() -> None:
    """Let the process exit in a while, even if another thread keeps the GIL for ever."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    faulthandler.dump_traceback_later(_TO_ABORT, file=quiet, exit=True)


def _place() -> _Place:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
    except OSError:  # not on Linux
        boot = ""
    return _Place(socket.gethostname(), boot, os.getpid())


# ---- sockets ------------------------------------------------------------------------------


def _listener(address: str, backlog: int) -> socket.socket:
    """A socket that listens at an address, or with "" at all addresses of IPv4 and IPv6."""
    if not address and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", 0), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
            )
        except OSError:  # there is IPv6, but no address
            pass
    return socket.create_server((address, 0), backlog=backlog)


def _addresses(host: str, others: set[str]) -> list[str]:
    """What other hosts can try to reach this one: its name, and its addresses towards them."""
    found = [host]
    try:
        found += [str(info[4][0]) for info in socket.getaddrinfo(host, None)]
    except OSError:  # the name is not known here
        pass
    for other in sorted(others):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((other, 9))  # sends nothing, but chooses the route
                found.append(str(probe.getsockname()[0]))
            except OSError:
                continue
    of_here = ("127.", "::1", "fe80:", "localhost")
    return list(dict.fromkeys(each for each in found if not each.startswith(of_here)))


def _proof(key: bytes, who: str, rank: int) -> bytes:
    return hmac.digest(key, f"{who} {rank}".encode(), "sha256")


def _introduce(peer: socket.socket, key: bytes, rank: int) -> None:
    """Prove to rank 0 who this is, and check that it is rank 0."""
    peer.settimeout(_TO_TRY)
    peer.sendall(struct.pack("!I", rank) + _proof(key, "rank", rank))
    if not hmac.compare_digest(_exactly(peer, _PROOF), _proof(key, "welcome", rank)):
        raise ConnectionError("it is not rank 0 that answers there")


def _welcome(peer: socket.socket, key: bytes, size: int) -> int:
    """The rank of a caller that proves that it knows the key."""
    peer.settimeout(_TO_TRY)
    (rank,) = struct.unpack("!I", _exactly(peer, 4))
    proved = hmac.compare_digest(_exactly(peer, _PROOF), _proof(key, "rank", rank))
    if not (proved and 0 < rank < size):
        raise ConnectionError("a stranger")
    peer.sendall(_proof(key, "welcome", rank))
    return int(rank)


def _exactly(peer: socket.socket, n: int) -> bytes:
    """The next n bytes."""
    got = b""
    while len(got) < n:
        more = peer.recv(n - len(got))
        if not more:
            raise ConnectionError("the connection has ended")
        got += more
    return got


def _line(peer: socket.socket) -> str:
    """The text up to a line break, or to the end of the connection."""
    got = b""
    try:
        while not got.endswith(b"\n") and (more := peer.recv(65536)):
            got += more
    except OSError:
        pass
    return got.decode("utf-8", "replace").rstrip("\n")


def _send(peer: socket.socket, message: bytes) -> bool:
    """Whether a message could be sent; a peer may be gone."""
    try:
        peer.sendall(message)
    except OSError:
        return False
    return True


def _keep_alive(peer: socket.socket) -> None:
    """Notice within some ten seconds that the host of a peer has vanished."""
    peer.settimeout(_TO_TRY)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for names, value in zip(
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), ("TCP_KEEPINTVL",), ("TCP_KEEPCNT",)),
        _SILENCE,
        strict=True,
    ):
        option = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if option is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)
