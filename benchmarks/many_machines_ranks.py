"""The programs that `many_machines.py` measures: what each process of them runs.

    python benchmarks/many_machines_ranks.py SOCKET PROGRAM

The process connects to a Unix socket, which also works from a network namespace. It answers each
line of JSON with another one, and ends with the connection. While it waits, it uses no processor.
"""

import json
import os
import socket
import sys
import time

import numpy as np

RATE = 1e-6  # so small that each round computes with the same weights


def data(job):
    """X and y of a job, the same numbers in every process."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((job["rows"], job["widths"][0]), np.float32)
    if job["loss"] == "cross_entropy":
        return X, rng.integers(0, job["widths"][-1], job["rows"])
    return X, rng.standard_normal((job["rows"], job["widths"][-1]), np.float32)


class Clock:
    """Wall and processor seconds per step, between the ends of the first and the last epoch."""

    def __init__(self, n_steps):
        self.n_steps, self.marks = n_steps, []

    def __call__(self, epoch=0, logs=None):
        self.marks.append((time.perf_counter(), time.process_time()))

    def result(self):
        if not self.marks:  # callbacks are called on rank 0 only
            return {}
        (began, used), (ended, used_then) = self.marks[0], self.marks[-1]
        n = self.n_steps * (len(self.marks) - 1)
        return {"seconds": (ended - began) / n, "cpu": (used_then - used) / n}


# ---- fastbp -------------------------------------------------------------------------------


class Fastbp:
    """Fits of one process, or of one rank of a communicator."""

    def __init__(self, comm=None):
        self.comm, self.rank = comm, 0 if comm is None else comm.rank
        self._prepared = {}

    def train(self, job, batch, parts=None, threads=1, epochs=1):
        """Train for `epochs` after a first one; returns times, and what this rank has sent."""
        import fastbp

        net, X, y = self._prepare(job, parts)
        optimizer, steps = fastbp.optim.Adam(RATE), job["rows"] // batch
        clock, watched = Clock(steps), watch(optimizer)
        net.fit(
            X,
            y,
            epochs=epochs + 1,
            batch_size=batch,
            optimizer=optimizer,
            parts=parts,
            comm=self.comm,
            n_threads=threads,
            callbacks=[clock],
        )
        found = watched() if self.comm is not None else {}
        return clock.result() | found | {"steps": steps * (epochs + 1), "params": net.theta.size}

    def _prepare(self, job, parts):
        import fastbp
        from fastbp.distributed import share

        key = json.dumps(job)
        if key not in self._prepared:
            soft = {"output": "softmax"} if job["loss"] == "cross_entropy" else {}
            net = fastbp.Network(job["widths"], activation="relu", loss=job["loss"], seed=0, **soft)
            X, y = data(job)
            if self.comm is not None:
                rows = share(len(X), self.comm, parts)
                X, y = X[rows], y[rows]
            self._prepared = {key: (net, X, y)}
        return self._prepared[key]

    def speed(self):
        """Seconds of small collectives and messages, and bytes per second to the other ranks."""
        from fastbp.distributed import check

        found = check(self.comm)
        return {
            "allgather": found.allgather,
            "bandwidth": found.alltoallv,
            "message": self._message(),
        }

    def _message(self, n=256):
        """Seconds that each of many small messages takes, if they are sent at once."""
        words, best = np.zeros(n), np.inf
        for _ in range(9):
            self.comm.Barrier()
            began = time.perf_counter()
            act = self.comm.Isend if self.rank == 0 else self.comm.Irecv
            requests = [act(words[i : i + 1], 1 - self.rank) for i in range(n)]
            for request in requests:
                request.Wait()
            self.comm.Barrier()
            best = min(best, (time.perf_counter() - began) / n)
        return best


def watch(optimizer):
    """Watch the exchanges of the next fit; returns a function that says what they were."""
    from fastbp._network import engine
    from fastbp._training.exchange import PARAMETERS, SUMS, Exchange

    seen = []

    class Watched(Exchange):
        def __init__(self, *args):
            super().__init__(*args)
            self.seconds, self.state = [0.0] * 4, None
            seen.append(self)

        def __call__(self, what):
            if self.state is None:
                self.state = sum(vector.nbytes for vector in optimizer.moments)
            began = time.perf_counter()
            super().__call__(what)
            self.seconds[what] += time.perf_counter() - began

    def result():
        engine.Exchange = Exchange
        (one,) = seen
        return {
            "bytes": one.bytes_sent,
            "messages": one.messages,
            "state": one.state,
            "sums": one.seconds[SUMS],
            "parameters": one.seconds[PARAMETERS],
        }

    engine.Exchange = Watched
    return result


# ---- PyTorch ------------------------------------------------------------------------------


class Torch:
    """PyTorch in one process, or DistributedDataParallel with gloo if RANK is set."""

    def __init__(self):
        import torch

        torch.set_num_threads(1)
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        if "RANK" in os.environ:
            torch.distributed.init_process_group("gloo", rank=self.rank, world_size=self.size)
        self._prepared = {}

    def train(self, job, batch, threads=1, epochs=1):
        """Train for `epochs` after a first one, with batches divided beforehand."""
        import torch

        torch.set_num_threads(threads)
        model, batches = self._prepare(job, batch)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        classes = job["loss"] == "cross_entropy"
        loss = torch.nn.CrossEntropyLoss() if classes else torch.nn.MSELoss()
        clock = Clock(len(batches))
        for _ in range(epochs + 1):
            for X, y in batches:
                optimizer.zero_grad()
                loss(model(X), y).backward()
                optimizer.step()
            clock()
        return clock.result()

    def _prepare(self, job, batch):
        import torch

        key = json.dumps((job, batch))
        if key not in self._prepared:
            torch.manual_seed(0)
            layers = []
            for n_in, n_out in zip(job["widths"], job["widths"][1:], strict=False):
                layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
            model = torch.nn.Sequential(*layers[:-1])
            if self.size > 1:
                model = torch.nn.parallel.DistributedDataParallel(
                    model, gradient_as_bucket_view=True
                )
            own = batch // self.size
            X, y = (torch.from_numpy(each) for each in data(job))
            starts = range(self.rank * own, job["rows"] - batch + self.rank * own + 1, batch)
            batches = [(X[t : t + own].clone(), y[t : t + own].clone()) for t in starts]
            self._prepared = {key: (model, batches)}
        return self._prepared[key]


# ---- the process --------------------------------------------------------------------------


def over_ranks():
    from mpi4py import MPI

    return Fastbp(MPI.COMM_WORLD)


PROGRAMS = {"fastbp": Fastbp, "ranks": over_ranks, "torch": Torch}


def serve(path, program):
    """Answer requests until the connection ends."""
    chosen = PROGRAMS[program]()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw", encoding="utf-8") as lines:
            send(lines, {"rank": chosen.rank, "pid": os.getpid()})
            for line in lines:
                request = json.loads(line)
                send(lines, getattr(chosen, request.pop("do"))(**request))


def send(lines, reply):
    lines.write(json.dumps(reply) + "\n")
    lines.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
