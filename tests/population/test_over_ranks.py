"""Populations whose members are spread over the ranks of a communicator."""

import subprocess
from pathlib import Path

import pytest
from population_rank_cases import X, Y, evolve, halve, keywords, left, members
from rank_cases import command, environment, on_ranks, outcomes_on_ranks

import fastbp
from fastbp import Population
from fastbp._ranks.team import share_out
from fastbp.callbacks import LambdaCallback

pytestmark = pytest.mark.once

SCRIPT = """
import io, sys
from fastbp import stream
from population_rank_cases import *
"""
CASES = str(Path(__file__).parents[1])


def run(script):
    """A script on two ranks, which may end as it likes."""
    return subprocess.run(
        command(2, script),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(PYTHONPATH=CASES),
        check=False,
    )


def thetas(population):
    return [net.theta.tobytes() for net in population]


FIT = """
def main(comm):
    population, given = members(seed=100 * comm.rank), keywords()
    if comm.rank > 0:
        given["optimizer"][0].lr = 7.0
    return left(population, given, population.fit(X, Y, **given, comm=comm))
"""


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_all_ranks_have_what_a_fit_leaves_on_one_machine(n, tmp_path):
    population, given = members(), keywords()
    expected = left(population, given, population.fit(X, Y, **given))
    assert "'divergence'" in expected and "'callback'" in expected
    assert on_ranks(n, SCRIPT + FIT, tmp_path, PYTHONPATH=CASES) == [expected] * n


STREAM = """
def main(comm):
    source = stream(X, Y, block_rows=40)
    population = members()[:3]
    population.fit(source, epochs=3, batch_size=8, comm=comm)
    return [net.theta.tobytes() for net in population]
"""


def test_streams(tmp_path):
    population = members()[:3]
    population.fit(fastbp.stream(X, Y, block_rows=40), epochs=3, batch_size=8)
    assert on_ranks(2, SCRIPT + STREAM, tmp_path, PYTHONPATH=CASES) == [thetas(population)] * 2


# ---- what has to be the same, and errors before anything changes ---------------------------

REFUSED = """
def refused(comm, population=None, X=X, Y=Y, **given):
    population = population or members(seed=comm.rank)
    before = [(net.theta.tobytes(), net.seed) for net in population]
    try:
        population.fit(X, Y, comm=comm, **given)
    except Exception as error:
        after = [(net.theta.tobytes(), net.seed) for net in population]
        return type(error).__name__, str(error), getattr(error, "__notes__", []), before == after

def main(comm):
    last = comm.rank == comm.size - 1
    wide = Population([*members()[:2], Network((3, 9 + comm.rank, 1))])
    stop, adam = EarlyStopping("loss"), Adam(0.01)
    return [
        refused(comm, epochs=3 + last),
        refused(comm, X=X + last),
        refused(comm, X=X[:100 + comm.rank], Y=Y[:100 + comm.rank]),
        refused(comm, Y=np.where(last, Y[::-1], Y)),
        refused(comm, rows=[np.arange(50 + comm.rank)] * K),
        refused(comm, wide),
        refused(comm, members()[: 3 + last]),
        refused(comm, optimizer=SGD(0.1) if last else Adam(0.1)),
        refused(comm, X=np.where(last, np.nan, X)),
        refused(comm, batch_size=[8] * (K - 1) + [0]),
        refused(comm, callbacks=[[stop]] * 2 + [[]] * (K - 2)),
        refused(comm, optimizer=[adam] * K),
    ]
"""
SAID = [
    "epochs differs: 3 on rank 0, 4 on rank 2",
    "X differs: float32 (120, 3) with checksum ",
    "X differs: float32 (100, 3) with checksum ",
    "y differs: float32 (120, 1) with checksum ",
    "rows[0] differs: int32 (50,) with checksum ",
    "widths of member 2 differs: [3, 9, 1] on rank 0, [3, 10, 1] on rank 1",
    "the number of members differs: 3 on rank 0, 4 on rank 2",
    "optimizer of member 0 differs: Adam on rank 0, SGD on rank 2",
    "rank 2 of 3 (",
    "batch_size must be at least 1; got 0",
    "this EarlyStopping is in use by a fit that is running: make one for each fit",
    "optimizer lists the same object twice",
]


def test_errors_are_the_same_on_all_ranks_and_nothing_has_changed(tmp_path):
    found = on_ranks(3, SCRIPT + REFUSED, tmp_path, PYTHONPATH=CASES)
    for of_ranks, said in zip(zip(*found, strict=True), SAID, strict=True):
        assert all(said in each[1] for each in of_ranks), of_ranks
        assert {each[0] for each in of_ranks} <= {"ValueError", "RuntimeError"}
        assert len({each[:2] for each in of_ranks}) == 1
        assert all(each[3] for each in of_ranks), said
    assert [each[9][2] for each in found] == [["in member 5 of a population of 6"]] * 3


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match="comm must be a communicator of mpi4py"):
        members().fit(X, Y, comm=3)


# ---- errors in the middle ------------------------------------------------------------------

ENDED = """
def main(comm):
    population, seen = members(), []

    def fail(epoch, logs):
        seen.append(epoch)
        if epoch == 1:
            raise {error}

    callbacks = [[] for _ in population]
    callbacks[4] = [fail]
    try:
        population.fit(X, Y, epochs=4, batch_size=8, callbacks=callbacks, comm=comm)
    except BaseException as error:
        thetas = [net.theta.tobytes() for net in population]
        return type(error).__name__, str(error), thetas, seen
"""


@pytest.mark.parametrize("error", ["OSError('disk full')", "KeyboardInterrupt", "SystemExit(7)"])
def test_what_ends_the_fits_of_one_rank_is_raised_on_all(error, tmp_path):
    found = on_ranks(3, SCRIPT + ENDED.replace("{error}", error), tmp_path, PYTHONPATH=CASES)
    assert len({each[:2] for each in found}) == 1
    kind, text, after, _ = found[0]
    assert kind == error.partition("(")[0]
    if kind == "OSError":
        assert text.startswith("rank ") and text.endswith("): disk full")
    assert sorted(seen for *_, seen in found) == [[], [], [0, 1]]
    assert all(each[2] == after for each in found)  # also of members that were interrupted

    whole = members()
    whole.fit(X, Y, epochs=4, batch_size=8)
    same = [one == other for one, other in zip(thetas(whole), after, strict=True)]
    assert not same[4] and same.count(True) >= 3  # the other ranks have ended theirs
    assert after[4] != members()[4].theta.tobytes()


STATES = """
class Keeper:
    def __init__(self, state):
        self.state = state
    def on_fit_end(self, net):
        pass
    def state_dict(self):
        return self.state
    def load_state_dict(self, state):
        raise ValueError("no such state")

def main(comm):
    found = []
    for state in (3, lambda: 3):
        population = members()[:2]
        try:
            population.fit(X, Y, callbacks=[[Keeper(state)], []], epochs=2, comm=comm)
        except Exception as error:
            found.append((str(error), population[1].theta.tobytes()))
    return found
"""


def test_states_of_callbacks_that_cannot_be_passed_on(tmp_path):
    found = on_ranks(2, SCRIPT + STATES, tmp_path, PYTHONPATH=CASES)
    assert found[0] == found[1]
    (first, theta), (second, _) = found[0]
    assert first.startswith("rank 0 of 2 (") and first.endswith("no such state")
    assert second.startswith("rank 1 of 2 (") and "pickle" in second
    whole = members()[:2]
    whole.fit(X, Y, epochs=2)
    assert theta == whole[1].theta.tobytes()


IDLE = """
import os, signal, threading, time

class Interrupt:
    def on_fit_end(self, net):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

def main(comm):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    population = members()[:2]  # the first one, which is smaller, is on rank 1
    callbacks = [[Interrupt()], [lambda epoch, logs: time.sleep(0.3)]]
    try:
        population.fit(X, Y, epochs=3, batch_size=8, callbacks=callbacks, comm=comm)
    except KeyboardInterrupt:
        return [net.theta.tobytes() for net in population]
"""


def test_ctrl_c_of_a_rank_that_waits(tmp_path):
    whole = members()[:2]
    whole.fit(X, Y, epochs=3, batch_size=8)
    assert on_ranks(2, SCRIPT + IDLE, tmp_path, PYTHONPATH=CASES) == [thetas(whole)] * 2


LOST = """
import os, signal, time
from mpi4py import MPI

def end(epoch, logs):
    {how}

callbacks = [[end] if net.widths[1] == 16 else [] for net in members()]
rates = [Adam(0.01) for _ in callbacks]
try:
    members().fit(X, Y, epochs=3, callbacks=callbacks, optimizer=rates, comm=MPI.COMM_WORLD)
    print("ended", flush=True)
finally:
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_the_job_ends_when_a_rank_is_lost(how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + LOST.replace("{how}", how))
    done = run(script)  # the other rank would sleep until it times out
    assert "ended" not in done.stdout
    assert done.returncode != 0 or "_exit(0)" in how


BUDGET = """
def main(comm):
    population = members()[:3]
    histories = population.fit(X, Y, epochs=10**9, time_budget=0.2, comm=comm)
    return [history.stopped_by for history in histories]
"""


def test_a_time_budget_ends_all(tmp_path):
    assert on_ranks(2, SCRIPT + BUDGET, tmp_path, PYTHONPATH=CASES) == [["time_budget"] * 3] * 2


SHOWN = """
def main(comm):
    sys.modules["tqdm.auto"] = None
    sys.stderr = io.StringIO()
    members().fit(X, Y, epochs=2, progress=True, comm=comm)
    return sys.stderr.getvalue()
"""


def test_rank_0_shows_the_progress_of_its_members(tmp_path):
    first, second = on_ranks(2, SCRIPT + SHOWN, tmp_path, PYTHONPATH=CASES)
    assert second == ""
    n = share_out([net.theta.size for net in members()], 2).count(0)
    assert first.endswith(f"members of rank 0: {2 * n}/{2 * n} epochs  {n}/{n} networks\n")


# ---- checkpoints ---------------------------------------------------------------------------

KEPT = """
def main(comm):
    population = members()

    def fail(epoch, logs):
        if epoch == {epoch}:
            raise OSError("disk full")

    try:
        population.fit(X, Y, epochs=5, batch_size=8, checkpoint={folder!r}, every="1 epoch",
                       callbacks=[fail], comm=comm)
    except OSError:
        assert {epoch} == 2
    return [net.theta.tobytes() for net in population]
"""


def test_a_fit_is_resumed_on_another_number_of_ranks(tmp_path):
    whole, folder = members(), tmp_path / "kept"
    whole.fit(X, Y, epochs=5, batch_size=8)
    script = SCRIPT + KEPT.replace("{folder!r}", repr(str(folder)))
    on_ranks(3, script.replace("{epoch}", "2"), tmp_path, PYTHONPATH=CASES)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"member-{k:04d}" for k in range(6)]
    assert (
        on_ranks(2, script.replace("{epoch}", "9"), tmp_path, PYTHONPATH=CASES)
        == [thetas(whole)] * 2
    )
    resumed = members()
    resumed.fit(X, Y, epochs=5, batch_size=8, checkpoint=folder, callbacks=[lambda e, logs: None])
    assert thetas(resumed) == thetas(whole)


SIGNALLED = """
import os, signal, time
from mpi4py import MPI

comm = MPI.COMM_WORLD
processes = comm.allgather(os.getpid())
population = members()[:2]  # the first one is on rank 1

class Sender:
    def __init__(self, to, pause):
        self.to, self.pause = to, pause

    def on_batch_end(self, step, logs):
        if step == 4 and logs["epoch"] == 1:
            time.sleep(self.pause)
            for process in self.to:
                os.kill(process, signal.{name})
            time.sleep(self.pause)

if "{name}" == "SIGUSR1":
    signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
callbacks = {callbacks}
population.fit(X, Y, epochs=3, batch_size=8, callbacks=callbacks, checkpoint="{folder}",
               every="9 epochs", on_signal="{name}", comm=comm)
print("ended", flush=True)
"""
TRAINING = "[[Sender([os.getpid()], 0.3)], [Sender([os.getpid()], 0.0)]]"
WAITING = "[[], [Sender(processes, 0.3)]]"


@pytest.mark.parametrize("callbacks", [TRAINING, WAITING], ids=["training", "waiting"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_has_its_effect_when_all_ranks_have_written(name, callbacks, tmp_path):
    folder, script = tmp_path / "kept", tmp_path / "script.py"
    text = SIGNALLED.replace("{name}", name).replace("{folder}", str(folder))
    script.write_text(SCRIPT + text.replace("{callbacks}", callbacks))
    done = run(script)
    assert (done.returncode == 0) == (name == "SIGUSR1")
    assert done.stdout.count("handled") == done.stdout.count("ended") == 2 * (name == "SIGUSR1")
    files = [path.parent.name for path in folder.glob("*/checkpoint-*.safetensors")]
    n_each = [1 + (name == "SIGUSR1" and callbacks == TRAINING), 1 + (name == "SIGUSR1")]
    assert [files.count(f"member-000{k}") for k in (0, 1)] == n_each
    resumed, whole = members()[:2], members()[:2]
    each_step = [LambdaCallback(on_batch_end=lambda step, logs: None)]
    resumed.fit(X, Y, epochs=3, batch_size=8, checkpoint=folder, callbacks=each_step)
    whole.fit(X, Y, epochs=3, batch_size=8)
    assert thetas(resumed) == thetas(whole)


# ---- evolution and halving -----------------------------------------------------------------

EVOLVE = """
def main(comm):
    return evolve(Population.of(5, (3, 8, 1), seeds=range(comm.rank, 5 + comm.rank)), comm=comm)
"""


def test_evolution_over_ranks(tmp_path):
    expected = evolve(Population.of(5, (3, 8, 1)))
    assert on_ranks(3, SCRIPT + EVOLVE, tmp_path, PYTHONPATH=CASES) == [expected] * 3


HALVE = """
def main(comm):
    def fail(epoch, logs):
        if epoch == {epoch}:
            raise OSError("disk full")

    made = Population.of(9, (3, 8, 1), activation="tanh")
    callbacks = [[] for _ in made]
    callbacks[4] = [fail]
    return halve(made, comm=comm, callbacks=callbacks)
"""


@pytest.mark.parametrize("n", [2, 11])
def test_halving_over_ranks(n, tmp_path):
    expected = halve(Population.of(9, (3, 8, 1), activation="tanh"))
    found = on_ranks(n, SCRIPT + HALVE.replace("{epoch}", "-1"), tmp_path, PYTHONPATH=CASES)
    assert found == [expected] * n
    assert len(expected[0]) > 2 and len({end[1] for end in expected[2]}) > 1


@pytest.mark.parametrize("epoch", ["0", "3"])
def test_an_error_between_two_rungs_is_raised_on_all(epoch, tmp_path):
    for good, error in outcomes_on_ranks(
        3, SCRIPT + HALVE.replace("{epoch}", epoch), tmp_path, PYTHONPATH=CASES
    ):
        assert not good and type(error) is OSError and str(error).endswith("disk full")


SCORES = """
def main(comm):
    try:
        members()[:2].halve(X, Y, validation_data=(X, Y[: 120 - comm.rank]), comm=comm)
    except ValueError as error:
        return str(error)
"""


def test_held_out_data_that_one_rank_refuses(tmp_path):
    first, second = on_ranks(2, SCRIPT + SCORES, tmp_path, PYTHONPATH=CASES)
    assert first == second and first.startswith("rank 1 of 2 (")
