"""Mutation testing of the C: one small change at a time, and the tests that reach it.

python tests/attacks/mutants/mutants.py --count 200 --seed 0

A mutant is killed if a test fails, crashes or hangs. The others survive: a test is missing, or no
result depends on the change; survivors.md says which. README.md in the folder above has more.
"""

import argparse
import fcntl
import json
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import mutant_build
import mutant_map
import mutant_run
from mutant_changes import mutants_of

KILLERS = Path(__file__).with_name("killers.json")  # mutant → the test that killed it
EXPLAINED = Path(__file__).with_name("survivors.md")
KILLED = {"killed", "stopped"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="how many mutants (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="which mutants (default: 0)")
    parser.add_argument("--minutes", type=float, default=240, help="stop after this time")
    parser.add_argument("--file", action="append", help="only of this file, as csrc/nn/clip.c")
    parser.add_argument("--only", action="append", metavar="ID", help="only this mutant")
    parser.add_argument("--budget", type=float, default=2, help="seconds of tests per mutant")
    parser.add_argument("--limit", type=float, default=60, help="seconds until tests are stopped")
    parser.add_argument("--resume", action="store_true", help="keep the results of the last run")
    parser.add_argument("--replay", type=int, help="so many mutants that a known test kills")
    parser.add_argument("--again", action="store_true", help="the survivors of the last run again")
    parser.add_argument("--keep", action="store_true", help=f"write what kills to {KILLERS.name}")
    parser.add_argument("--map", action="store_true", help="make the map of tests again")
    parser.add_argument("--objects", help="folder of a build of setup.py that is up to date")
    parser.add_argument("--list", action="store_true", help="list mutants; build and test nothing")
    return parser.parse_args()


# ---- which mutants ------------------------------------------------------------------------


def features():
    """The features of this processor, as Linux names them; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    return set(info.read_text().split()) if info.exists() else set()


def source_files():
    """The files of csrc/ that are mutated, by name without csrc/ and sorted."""
    needs = {"avx512": "avx512f", "avx512_bf16": "avx512_bf16", "avx2": "avx2"}
    csrc, has = mutant_build.ROOT / "csrc", features()
    for path in sorted(csrc.glob("*/*")):
        name = path.relative_to(csrc).as_posix()
        room = name.split("/")[0]
        if path.suffix not in {".c", ".h", ".inc"} or room not in mutant_build.ROOMS:
            continue
        need = needs.get(mutant_build.isa_of(name)) if room in {"kernels", "simd"} else None
        if name not in mutant_build.LEFT_OUT and (need is None or need in has):
            yield name


def all_mutants(files):
    """Return file → its mutants."""
    csrc = mutant_build.ROOT / "csrc"
    return {name: mutants_of(name, (csrc / name).read_text()) for name in files}


def sample(mutants, seed):
    """Yield mutants until all are out: rooms in proportion to ROOMS, all functions alike."""
    rng = random.Random(seed)
    rooms = defaultdict(lambda: defaultdict(list))
    for name, found in mutants.items():
        for mutant in found:
            rooms[name.split("/")[0]][name, mutant.function].append(mutant)
    weights = {room: mutant_build.ROOMS[room] for room in rooms}
    while rooms:
        names = sorted(rooms)
        room = rng.choices(names, [weights[name] for name in names])[0]
        function = rng.choice(sorted(rooms[room]))
        left = rooms[room][function]
        yield left.pop(rng.randrange(len(left)))
        if not left:
            del rooms[room][function]
        if not rooms[room]:
            del rooms[room]


BASE_TEST = "tests/engine/test_walk.py"


# ---- judging ------------------------------------------------------------------------------


class Judge:
    """Builds and tests mutants, and learns which tests kill those of a file."""

    def __init__(self, options):
        self.options = options
        self.base = mutant_build.base_objects(options.objects)
        mutant_build.copy_tree()
        self.known = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
        self.table = {} if options.replay else mutant_map.load_map(self.base, options.map)
        self.killers = defaultdict(list)
        self.check_base()

    def check_base(self):
        """Stop if a test fails on the unchanged engine: then, every mutant would seem killed."""
        mutant_build.link(self.base, {})
        log = mutant_build.WORK / "base.log"
        outcome = mutant_run.run_tests(
            mutant_build.TREE, [BASE_TEST], log, self.options.limit, {"FASTBP_ISA": "scalar"}
        )
        if outcome.verdict != "survived":
            raise SystemExit(f"mutants: {BASE_TEST} fails on the unchanged engine; see {log}")

    def rounds(self, mutant):
        """Yield the tests of a mutant, each time with the ISA on which they run."""
        isas = mutant_build.isas_of(mutant.file)
        if mutant.id in self.known:
            yield from ((isa, [self.known[mutant.id]]) for isa in isas)
        if not self.options.replay:
            yield from ((isa, names) for isa in isas for names in self.tests_on(isa, mutant))

    def tests_on(self, isa, mutant):
        """Yield the tests of a mutant on one ISA: the likely ones, then those that take longer."""
        file = mutant.file
        room, killers = file.split("/")[0], self.killers[file][-3:][::-1]
        if isa in {"amx_emulated", "avx512_bf16"}:
            first, *others = mutant_map.ROUNDED if room == "nn" else mutant_map.BF16
            yield [*killers, first]
            yield others
            return
        yield from mutant_map.rounds_for(mutant, self.table, killers, self.options.budget)
        yield mutant_map.BY_FILE.get(file) or mutant_map.BY_FILE.get(room, [])

    def judge(self, mutant):
        """Return an Outcome; NotAMutant if there is nothing to test."""
        text = (mutant_build.ROOT / "csrc" / mutant.file).read_text()
        mutant_build.link(self.base, mutant_build.compile_mutant(mutant, text))
        source = mutant_build.TREE / "csrc" / mutant.file
        source.write_text(mutant.apply(text))  # for tests that compile it themselves
        try:
            return self.test(mutant)
        finally:
            source.write_text(text)

    def test(self, mutant):
        """Return the Outcome of the module that was linked."""
        log, spent = mutant_build.WORK / "run.log", 0.0
        for isa, names in self.rounds(mutant):
            if not names:
                continue
            outcome = mutant_run.run_tests(
                mutant_build.TREE, names, log, self.options.limit, {"FASTBP_ISA": isa}
            )
            spent += outcome.seconds
            if outcome.verdict == "missing" and names != [self.known.get(mutant.id)]:
                raise SystemExit("mutants: the map names tests that are gone; use --map")
            if outcome.verdict in KILLED:
                if "::" in outcome.test:
                    self.killers[mutant.file].append(outcome.test)
                if self.options.keep and not self.kills_alone(outcome.test, isa):
                    outcome = replace(outcome, test="", how=f"{outcome.how}, but not alone")
                return replace(outcome, isa=isa, seconds=spent)
        return mutant_run.Outcome("survived", "", "", spent)

    def kills_alone(self, test, isa):
        """Whether a test kills the linked mutant three times, each in a process of its own. It may
        have failed for what earlier tests left in memory, or for bytes behind an array."""
        log, environment = mutant_build.WORK / "alone.log", {"FASTBP_ISA": isa}
        options = (log, self.options.limit, environment)
        runs = (mutant_run.run_tests(mutant_build.TREE, [test], *options) for _ in range(3))
        return all(outcome.verdict == "killed" for outcome in runs)


def unsound(judge, results):
    """Return the tests that killed mutants and also fail without a change, one run per ISA."""
    tests = defaultdict(set)
    for r in results:
        if r["verdict"] in KILLED and r["test"]:
            tests[r["isa"]].add(r["test"])
    mutant_build.link(judge.base, {})
    log, failed = mutant_build.WORK / "sound.log", set()
    for isa, names in tests.items():
        limit, environment = 60 * len(names), {"FASTBP_ISA": isa}
        mutant_run.run_tests(
            mutant_build.TREE, sorted(names), log, limit, environment, extra=("-q",)
        )
        lines = log.read_text().splitlines()
        failed |= {line.removeprefix("failed ") for line in lines if line.startswith("failed ")}
        failed |= names - {line.removeprefix("ran ") for line in lines}
    return failed


def results_path(options):
    return mutant_build.WORK / f"results-{options.seed}.jsonl"


def read_results(options):
    """Return the results of a run that is resumed: id → result."""
    path = results_path(options)
    if options.only or options.replay or not (options.resume or options.again) or not path.exists():
        return {}
    found = {r["id"]: r for r in map(json.loads, path.read_text().splitlines())}
    if options.again:
        found = {name: r for name, r in found.items() if r["verdict"] != "survived"}
        path.write_text("".join(json.dumps(r) + "\n" for r in found.values()))
    return found


def run(options):
    """Judge mutants until there are enough; return the results by id."""
    files = list(source_files())
    if options.file:
        asked = [name.removeprefix("csrc/") for name in options.file]
        unknown = [name for name in asked if name not in files]
        if unknown:
            raise SystemExit(f"mutants: none are made of {unknown[0]}; files: {' '.join(files)}")
        files = asked
    mutants = all_mutants(files)
    results, end = read_results(options), time.monotonic() + 60 * options.minutes
    temporary = options.only or options.replay
    if not (options.resume or options.again or temporary):
        results_path(options).unlink(missing_ok=True)
    judge, counted = Judge(options), 0
    for result in results.values():
        if "::" in result["test"]:
            judge.killers[result["file"]].append(result["test"])
    for mutant in queue_of(mutants, options, judge.known):
        if counted >= (options.replay or options.count) or time.monotonic() > end:
            break
        result = results.get(mutant.id) or judge_one(judge, mutant)
        if mutant.id not in results:
            results[mutant.id] = result
            if not temporary:
                with results_path(options).open("a") as file:
                    file.write(json.dumps(result) + "\n")
        counted += result["verdict"] != "not counted"
    wrong = unsound(judge, results.values())
    if wrong:
        raise SystemExit(f"mutants: these tests also fail without a change: {sorted(wrong)}")
    return results


def queue_of(mutants, options, known):
    """Return the mutants to judge, in order."""
    by_id = {mutant.id: mutant for found in mutants.values() for mutant in found}
    if options.replay:
        names = sorted(known.keys() & by_id.keys())
        random.Random(options.seed).shuffle(names)
        return [by_id[name] for name in names[: options.replay]]
    if not options.only:
        return sample(mutants, options.seed)
    unknown = [name for name in options.only if name not in by_id]
    if unknown:
        raise SystemExit(f"mutants: no mutant is called {unknown[0]}; --list shows all names")
    return [by_id[name] for name in options.only]


def judge_one(judge, mutant):
    """Return the result of a mutant, and print one line."""
    text = (mutant_build.ROOT / "csrc" / mutant.file).read_text()
    result = {
        "id": mutant.id,
        "file": mutant.file,
        "line": mutant.line,
        "change": mutant.show(text),
    }
    begin = time.monotonic()
    try:
        outcome = judge.judge(mutant)
        result |= {"verdict": outcome.verdict, "test": outcome.test, "how": outcome.how}
        result |= {"isa": outcome.isa}
    except mutant_build.NotAMutant as why:
        result |= {"verdict": "not counted", "test": "", "how": str(why)}
    result["seconds"] = round(time.monotonic() - begin, 1)
    told = f"{result['seconds']:6.1f} s  {result['verdict']:11}  {mutant.id}"
    print(told, result["test"], result["how"], flush=True)
    return result


# ---- the report ---------------------------------------------------------------------------


def write_table(results, path):
    """Write all mutants to a table in Markdown."""
    rows = ["| mutant | line | change | verdict | by |", "|---|---|---|---|---|"]
    for r in results:
        change = r["change"].replace("|", "\\|")
        by = f"`{r['test']}` {r['how']}" if r["test"] else r["how"]
        rows.append(f"| `{r['id']}` | {r['line']} | `{change}` | {r['verdict']} | {by} |")
    path.write_text("\n".join(rows) + "\n")


def keep(results):
    """Add the killers of this run to the file of known ones."""
    known = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    known |= {r["id"]: r["test"] for r in results if r["verdict"] == "killed" and r["test"]}
    KILLERS.write_text(json.dumps(known, indent=0, sort_keys=True, ensure_ascii=False) + "\n")


def explained():
    """The ids in survivors.md, each in backticks at the start of a row."""
    rows = EXPLAINED.read_text().splitlines() if EXPLAINED.exists() else []
    return {row.split("`")[1] for row in rows if row.startswith("| `")}


def lock_folder():
    """Return an open file that keeps other runs out of WORK; they would change what we compile."""
    mutant_build.WORK.mkdir(parents=True, exist_ok=True)
    lock = (mutant_build.WORK / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"mutants: another run uses {mutant_build.WORK}") from None
    return lock


def main():
    options = arguments()
    if options.list:
        for found in all_mutants(source_files()).values():
            print("\n".join(mutant.id for mutant in found))
        return 0
    with lock_folder():
        results = [r for r in run(options).values() if r["verdict"] != "not counted"]
    table = mutant_build.WORK / f"table-{options.seed}.md"
    if not (options.only or options.replay):
        write_table(results, table)
    if options.keep:
        keep(results)
    verdicts = Counter(r["verdict"] for r in results)
    known, new = explained(), []
    for r in results:
        if r["verdict"] == "survived" and r["id"] not in known:
            new.append(r["id"])
            print(f"survived, not explained in {EXPLAINED.name}: {r['id']}\n    {r['change']}")
    killed = verdicts["killed"] + verdicts["stopped"]
    print(
        f"mutants: {len(results)} mutants, {killed} killed ({verdicts['stopped']} by a limit), "
        f"{verdicts['survived']} survived, {len(new)} of them unexplained"
    )
    return 1 if new or not results else 0


if __name__ == "__main__":
    sys.exit(main())
