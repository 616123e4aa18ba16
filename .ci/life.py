#!/usr/bin/python3
"""What a worker costs from its fork to its end, the supervisor's part included: page faults and system calls.

    life.py             compares with the record, .ci/life.txt
    life.py --record    writes the record

Both are counts, which a busy machine does not change as it changes times. The programs are those of the benchmark.

Page faults are compared with those of a bare loop of fork and waitpid in the same run, because they depend on the kernel and
the C library. The kernel places code and data at random, and with the place a worker's faults vary by a tenth. So each figure
is the mean over many starts, which varies by one in a hundred.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from statistics import mean

ROUNDS = 60
# What all later runs are compared with is to be nearer to the mean than each of them.
ROUNDS_OF_A_RECORD = 240
WORKERS = 64
# In percent, over the record. A page more, of code or data, is 2 to 3 %; what else runs changes the mean by 2 %.
MORE_FAULTS = 10
# What a kernel maps at one fault differs between versions.
MORE_FAULTS_ON_ANOTHER_KERNEL = 20
# A call more for each restart is 1. Now and then the supervisor reads the signals of two ends at once.
MORE_CALLS = 0.9

FIGURES = {"life": "a worker's life", "restart": "a restart"}
HINT = """What runs between fork and body touches more pages, or the supervisor writes to more of them. Such code needs #[inline],
allocates nothing and frees nothing: see "What a worker costs" in CONTRIBUTING.md. If it has to cost more, record it with
/usr/bin/python3 .ci/life.py --record"""

os.chdir(os.path.dirname(os.path.abspath(__file__)) + "/..")
RECORD = ".ci/life.txt"
PROGRAMS = os.environ.get("CARGO_TARGET_DIR", "target") + "/release"


def main():
    build = ["cargo", "build", "--quiet", "--release", "--package", "contenders", "--bin", "limit", "--bin", "pool"]
    subprocess.run(build, check=True)
    record = "--record" in sys.argv[1:]
    faults, calls = page_faults(ROUNDS_OF_A_RECORD if record else ROUNDS), system_calls()
    if record:
        if not (faults and calls):
            sys.exit("life.py: nothing is recorded where a part is skipped")
        write(faults, calls)
    recorded = read()
    grown = more_faults(faults, recorded) + more_calls(calls, recorded)
    if grown:
        sys.exit("\n".join([*(f"life.py: {what}" for what in grown), HINT]))


def lives(program, workers):
    """This many workers that end at once, with status 0."""
    return run([f"{PROGRAMS}/{program}", "end", str(workers)], {}, 0)


def restarts(workers, tracer=()):
    """The first worker and those that replace it, one after another, each of which ends at once, with status 1."""
    environment = {"PREFORK_MAX_RESTARTS": str(workers - 1), "PATH": os.environ["PATH"]}
    return run([*tracer, f"{PROGRAMS}/pool", "crash", "1"], environment, 1)


def run(command, environment, status):
    """Runs to its end, and returns how many page faults it and its children had: wait4(2)."""
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment)
    _, waited, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(waited)
    if process.returncode != status:
        sys.exit(f"life.py: {' '.join(command)} ends with status {process.returncode}, not {status}")
    return usage.ru_minflt


def page_faults(rounds):
    """The faults of a worker of the bare loop, of one of a pool, and of one that replaces another. The programs take turns."""
    figures = {
        "limit": lambda workers: lives("limit", workers),
        "life": lambda workers: lives("pool", workers),
        "restart": restarts,
    }
    samples = {name: [] for name in figures}
    for _ in range(rounds):
        for name, faults in figures.items():
            samples[name].append((faults(WORKERS + 1) - faults(1)) / WORKERS)
    if any(samples["limit"]):
        return {name: mean(values) for name, values in samples.items()}
    print("skipped the page faults: the kernel does not count them")
    return None


def system_calls():
    """How often a restart makes each call: the fork, the life and the end of a worker."""
    try:
        subprocess.run(["strace", "-f", "-qq", "-c", "-o", "/dev/null", "true"], check=True, stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error).encode()
        print("skipped the system calls: strace cannot trace here:", reason.decode().strip().split("\n")[-1])
        return None
    samples = [calls_of_each() for _ in range(3)]
    return sorted(samples, key=lambda calls: sum(calls.values()))[1]


def calls_of_each():
    one, many = count_calls(1), count_calls(WORKERS + 1)
    each = {call: (many[call] - one[call]) / WORKERS for call in many}
    return {call: number for call, number in each.items() if abs(number) >= 0.01}


def count_calls(workers):
    with tempfile.NamedTemporaryFile("r") as counts:
        restarts(workers, ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", counts.name])
        lines = [re.match(r"\s*(\d+) (\w+)$", line) for line in counts]
    return Counter({line[2]: int(line[1]) for line in lines if line and line[2] != "total"})


def more_faults(faults, recorded):
    if not faults:
        return []
    percent = MORE_FAULTS if recorded["kernel"] == kernel() else MORE_FAULTS_ON_ANOTHER_KERNEL
    grown = []
    for name, what in FIGURES.items():
        ratio, before = faults[name] / faults["limit"], float(recorded[f"faults of {name}"])
        has = f"{what} has {ratio:.3f} times the bare loop's page faults ({faults[name]:.1f} and {faults['limit']:.1f})"
        print(f"{has}; recorded is {before:.3f}, the limit {percent} % more")
        if ratio > before * (1 + percent / 100):
            grown.append(f"{has}, more than {percent} % above the {before:.3f} of {RECORD}")
    return grown


def more_calls(calls, recorded):
    if not calls:
        return []
    prefix = "calls of "
    before = {name.removeprefix(prefix): float(number) for name, number in recorded.items() if name.startswith(prefix)}
    total, total_before = sum(calls.values()), sum(before.values())
    print(f"a restart makes {total:.1f} system calls; recorded are {total_before:.1f}, the limit is {MORE_CALLS} more")
    if total <= total_before + MORE_CALLS:
        return []
    grown = [(call, before.get(call, 0), number) for call, number in calls.items() if number > before.get(call, 0) + 0.1]
    named = ", ".join(f"{call} {was:.1f} times before and {number:.1f} now" for call, was, number in grown)
    return [f"a restart makes {total:.1f} system calls, {total_before:.1f} in {RECORD}: {named}"]


def write(faults, calls):
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    lines = [
        f"# Written by life.py --record with rustc {rustc}: page faults over the bare loop's, and system calls of a restart.",
        f"kernel: {kernel()}",
        *(f"faults of {name}: {faults[name] / faults['limit']:.3f}" for name in FIGURES),
        *(f"calls of {call}: {calls[call]:.2f}" for call in sorted(calls)),
    ]
    with open(RECORD, "w") as record:
        record.write("\n".join(lines) + "\n")


def read():
    with open(RECORD) as record:
        return dict(line.strip().split(": ", 1) for line in record if not line.startswith("#"))


def kernel():
    """`x86_64 Linux 6.1`: what is behind the second number is not of this kind."""
    system = os.uname()
    return f"{system.machine} {system.sysname} {'.'.join(system.release.split('.')[:2])}"


main()
