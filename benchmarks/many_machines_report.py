"""Tables, model and chart of what `many_machines.py` has measured.

A step of R ranks with a batch of B rows takes, in this model,

    t(R) = u + c·B/R + 2 (R − 1)/R · 4n/β + latency(R)

n is the number of parameters, β the bytes per second of an Alltoallv. u and c are fitted to steps
of one process with 512, 256, 128 and 64 rows, the least of all rounds. u contains the update, which
each rank makes for 1/R of the parameters only; that it writes and adds up gradients instead is not
modelled. The latency has three terms, by the algorithms of MPICH:

    heads         ⌈log2 R⌉ a         Allgather by recursive doubling
    sums          a + (R − 2) m      Alltoallv: all messages are posted at once
    parameters    ⌈log2 R⌉ a         Allgatherv up to 512 KiB, otherwise (R − 1) a around a ring

a is the time of an Allgather of 8 bytes on two ranks, m that of one small message among many.
"""

import re
import statistics
from math import ceil, log2
from pathlib import Path

import numpy as np
from publish import replaced_between, wrapped

from fastbp.bench._suites import join_widths

ROOT = Path(__file__).parents[1]
FIGURES, CHART = ROOT / "docs/many_machines.json", ROOT / "docs/many_machines.png"
PAGE = ROOT / "docs/many_machines.md"
BEGIN, END = "<!-- written by benchmarks/many_machines.py -->", "<!-- end of this part -->"
RING = (
    512 * 1024
)  # bytes from which MPICH gathers around a ring (MPIR_CVAR_ALLGATHER_LONG_MSG_SIZE)
BUSY = 0.1  # share of the cores from which other processes disturb ranks that wait for each other
NODES = 2 ** np.arange(9)
PROJECTED = {"1 Gb/s": 1, "10 Gb/s": 10, "100 Gb/s": 100}
WIRE = 50e-6  # seconds that a message of the projection takes in addition
USED = 0.95  # share of the rate of a projected network that carries data
STRONG, WEAK = 8192, 512  # rows of a batch, in all and per node
# Colours for colour-blind people, after Okabe & Ito.
COLOURS = {"1 Gb/s": "#D55E00", "10 Gb/s": "#0072B2", "100 Gb/s": "#009E73"}
DASHES = {"mnist-m": "-", "wide": "--", "tab": ":"}


# ---- the model ----------------------------------------------------------------------------


def least(lane):
    return min(lane["us"])


def computation(found, job):
    """(u, c): µs of a step of one thread, and those of each row."""
    rows, times = [], []
    for name, lane in job["lanes"].items():
        share = re.fullmatch(r"1/(\d+) of a batch", name)
        if share or name == f"parts={found['parts']}, 1 threads":
            rows.append(found["batch"] / (int(share[1]) if share else 1))
            times.append(least(lane))
    slope, start = np.polyfit(rows, times, 1, w=1 / np.array(times))
    return max(start, 0.0), slope


def exchange(n_ranks, size, network):
    """µs that the exchanges of a step take; size: bytes of the parameters."""
    if n_ranks == 1:
        return 0.0
    a, m, doublings = network["allgather"], network["message"], ceil(log2(n_ranks))
    gather = doublings if size < RING else n_ranks - 1
    latency = doublings * a + a + (n_ranks - 2) * m + gather * a
    return 1e6 * (latency + 2 * (n_ranks - 1) / n_ranks * size / network["bandwidth"])


def modelled(found, job, n_ranks, batch, network):
    """µs of a step of n ranks with one thread each."""
    u, c = computation(found, job)
    return u + c * batch / n_ranks + exchange(n_ranks, 4 * job["params"], network)


def projected(found):
    """{name: a network that was not measured}: the software's latency, and a wire's."""
    measured = found["networks"]
    software = measured.get("no limit") or measured["shared memory"]
    return {
        name: {
            "allgather": software["allgather"] + WIRE,
            "message": software["message"],
            "bandwidth": USED * gbit * 1e9 / 8,
        }
        for name, gbit in PROJECTED.items()
    }


# ---- tables -------------------------------------------------------------------------------


def table(heads, rows):
    """A Markdown table, numbers on the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


NETWORKS = "The networks, between two ranks:"
MODEL = "The model of the time of a step, and what was measured on two ranks:"
COUNTS = (
    "What a rank sends in a step, at most, as counted on this machine. 100 % would be\n"
    "2 (R − 1)/R times the parameters:"
)


def text(found):
    """All tables, in Markdown."""
    parts = [about(found)]
    parts += [f"{title(found, name)}\n\n{times(job)}" for name, job in found["jobs"].items()]
    parts.append("\n".join(ratios(found)))
    if found["networks"]:
        parts += [NETWORKS, networks(found), MODEL, comparison(found)]
    if found.get("counts"):
        parts += [COUNTS, counts(found)]
    return "\n\n".join(parts)


def about(found):
    """What was measured, where, and what was not."""
    machine, conditions = found["machine"], found["conditions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"
    lines = [f"Measured on {found['date']} on {where}, with fastbp {machine['fastbp']}."]
    lines += ["Adam in float32. A rank has one thread."]
    lines += [f"A batch has {found['batch']} rows, of all ranks together."]
    if found["delay"]:
        lines.append(f"The link between two network namespaces was {found['delay']}.")
    if conditions:
        steal, others = (f"{100 * conditions[name]:.0f} %" for name in ("steal", "others"))
        lines.append(f"Steal {steal}, other processes {others} of the cores.")
        if conditions["others"] > BUSY:
            lines.append("So the machine was busy: read the least times, and measure again.")
    if found["skipped"]:
        lines.append(f"Left out: {'; '.join(found['skipped'])}.")
    return wrapped(" ".join(lines))


def title(found, name):
    job = found["jobs"][name]
    return f"**{name}**: {join_widths(job['widths'])}, {job['params']:,} parameters"


def times(job):
    """Times of all programs of a job."""
    one = statistics.median(job["lanes"]["fastbp, 1 threads"]["us"])
    rows = []
    for name, lane in job["lanes"].items():
        if name.endswith("of a batch"):
            continue
        us = statistics.median(lane["us"])
        alone = "ranks" not in name and "ddp" not in name
        cpu = f"{min(lane['cpu_us']):,.0f}" if alone else ""
        inner = [f"{lane[key]:,.0f}" if key in lane else "" for key in ("sums", "parameters")]
        shown = name.replace(" 1 threads", " 1 thread")
        rows.append([shown, f"{us:,.0f}", f"{least(lane):,.0f}", cpu, *inner])
        rows[-1].append(f"{one / us:.2f}")
    heads = ["program", "µs per step", "least", "CPU µs", "sums, µs", "parameters, µs", "speed-up"]
    return table(heads, rows)


def ratios(found):
    """The cost of parts and of ranks, and the peers, as lines of text."""
    for name, job in found["jobs"].items():
        ways = job["lanes"]

        def over(above, below, ways=ways):
            pairs = zip(ways[above]["us"], ways[below]["us"], strict=True)
            return statistics.median(a / b for a, b in pairs)

        parts, whole = (f"{way}, 1 threads" for way in ("parts=16", "fastbp"))
        cpu = min(ways[parts]["cpu_us"]) / min(ways[whole]["cpu_us"])
        cost = over(parts, whole)
        yield f"- {name}: parts cost {cost - 1:+.1%} (by processor time {cpu - 1:+.1%})"
        for link in ("shared memory", "10 Gb/s", "1 Gb/s"):
            peer = "ddp, loopback" if link == "shared memory" else f"ddp, {link}"
            if f"2 ranks, {link}" in ways and peer in ways:
                ratio = over(peer, f"2 ranks, {link}")
                yield f"- {name}, {link}: DistributedDataParallel takes {ratio:.2f} × the time"


def networks(found):
    heads = ["network", "Allgather, µs", "one of many messages, µs", "Alltoallv, GB/s"]
    return table(
        heads,
        [
            [
                name,
                f"{1e6 * each['allgather']:.1f}",
                f"{1e6 * each['message']:.1f}",
                f"{each['bandwidth'] / 1e9:.2f}",
            ]
            for name, each in found["networks"].items()
        ],
    )


def comparison(found):
    """The model of two ranks, and their times."""
    rows = []
    for name, job in found["jobs"].items():
        for link, network in found["networks"].items():
            lane = job["lanes"].get(f"2 ranks, {link}")
            if lane is not None:
                model, us = modelled(found, job, 2, found["batch"], network), least(lane)
                sent = f"{lane['crossed'] / lane['bytes'] / 2:.3f}" if "crossed" in lane else ""
                cells = (f"{model:,.0f}", f"{us:,.0f}", f"{model / us - 1:+.0%}", sent)
                rows.append([f"{name}, {link}", *cells])
    heads = ["", "model, µs", "least measured, µs", "difference", "bytes on the link / counted"]
    return table(heads, rows)


def counts(found):
    rows = [
        [
            f"{each['job']}, {each['ranks']} ranks",
            f"{each['bytes']:,.0f}",
            f"{100 * each['bytes'] / each['formula']:.2f} %",
            f"{each['messages']:.0f}",
            f"{100 * each['state']:.2f} %",
        ]
        for each in found["counts"]
    ]
    heads = ["", "bytes", "of an even share", "collective calls", "of the moments"]
    return table(heads, rows)


# ---- chart and page -----------------------------------------------------------------------


def draw(found, path):
    """Draw the projection to many nodes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 4.6), layout="constrained")
    strong, weak = figure.subplots(1, 2)
    strong.plot(NODES, NODES, color="#999999", linewidth=1, label="ideal")
    weak.axhline(100, color="#999999", linewidth=1)
    for name, job in found["jobs"].items():
        for link, network in projected(found).items():
            look = {"color": COLOURS[link], "linestyle": DASHES[name], "linewidth": 1.6}
            t = np.array([modelled(found, job, n, STRONG, network) for n in NODES])
            strong.plot(NODES, t[0] / t, **look, label=f"{name}, {link}")
            t = np.array([modelled(found, job, n, WEAK * n, network) for n in NODES])
            weak.plot(NODES, 100 * t[0] / t, **look)
    for axes in (strong, weak):
        axes.set_xscale("log", base=2)
        axes.set_xticks(NODES, [str(n) for n in NODES])
        axes.set_xlabel("nodes with one thread each (projection beyond 2)")
        axes.grid(alpha=0.3)
    strong.set_yscale("log", base=2)
    strong.set_yticks(NODES, [str(n) for n in NODES])
    strong.set(ylim=(0.5, 300), ylabel="speed-up (projection)")
    strong.set_title(f"a batch of {STRONG:,} rows in all", fontsize=10)
    weak.set(ylim=(0, 105), ylabel="efficiency, % (projection)")
    weak.set_title(f"{WEAK} rows per node", fontsize=10)
    strong.legend(frameon=False, fontsize=8)
    machine = found["machine"]
    figure.suptitle(
        f"Projection from measured steps of 1 and 2 ranks ({machine['cpu']}, {machine['isa']})",
        fontsize=11,
    )
    figure.savefig(path, dpi=100)


def publish(found):
    """Write the chart, and the part of the page between two comments."""
    draw(found, CHART)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced_between(page, BEGIN, END, text(found)), encoding="utf-8")
