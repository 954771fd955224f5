"""Writes what was measured: docs/benchmark.md, a table, and docs/benchmark.svg, a plot of the warm rows."""
import datetime
import math
import os
import platform
import statistics
from pathlib import Path

SYSTEMS = ("ext4", "tmpfs", "mlenvfs", "mlenvfs -o ro", "passthrough_ll", "sshfs", "rclone", "httpdirfs")
COLOURS = {"ext4": "#8c8c8c", "tmpfs": "#bdbdbd", "mlenvfs": "#0b6bcb", "mlenvfs -o ro": "#5aa9f0", "passthrough_ll": "#7a9c59",
           "sshfs": "#d08a2e", "rclone": "#b4573f", "httpdirfs": "#8a5a9e"}
PLOTTED = ("find", "ls -lR", "grep -r", "cat", "getfattr -R", "rsync -a, nothing changed")
LOOPS = ("stat, 1 thread", "stat, 8 threads", "open-read-close, 1 thread", "open-read-close, 8 threads")
FAR = "20 ms"


class Figures:
    """Medians, and ratios of them; None where something was not measured."""

    def __init__(self, bench):
        self.bench = bench

    def of(self, row, system="mlenvfs"):
        values = self.bench.results.get(row, {}).get(system)
        return statistics.median(values) if values else None

    def ratio(self, row, system, to, to_row=None):
        a, b = self.of(row, system), self.of(to_row or row, to)
        return a / b if a and b else None

    def asked(self, row, system="mlenvfs"):
        return sum(self.bench.counts.get(row, {}).get(system, {}).values()) if row in self.bench.counts else None


# ---- targets ----


def at_most(limit):
    return lambda value: value <= limit


def at_least(limit):
    return lambda value: value >= limit


def cold_limit(figures, environments):
    native = figures.of("cold find, no delay", "ext4") or 0
    return 1.25 * (3 + environments / 32) * 0.020 + native


def targets(figures, environments):
    """(work, what is compared, the value, how it is to be, whether it is so)."""
    ratio, of = figures.ratio, figures.of
    far_find, memory = f"cold find, {FAR}", figures.bench.facts.get("memory")
    after_find = figures.bench.counts.get("grep -r right after the first find, no delay")
    limit = cold_limit(figures, environments)
    after = f"rsync -a, nothing changed, after a remount, no delay"
    rows = [
        ("warm find", "× ext4", ratio("find", "mlenvfs", "ext4"), "≤ 1.05", at_most(1.05)),
        ("warm find", "requests of the kernel", figures.asked("find"), "0", at_most(0)),
        ("warm ls -lR", "× ext4", ratio("ls -lR", "mlenvfs", "ext4"), "≤ 1.1", at_most(1.1)),
        ("warm stat", "of tmpfs", ratio(LOOPS[0], "mlenvfs", "tmpfs"), "≥ 0.85", at_least(0.85)),
        ("warm open-read-close, rw", "of tmpfs", ratio(LOOPS[2], "mlenvfs", "tmpfs"), "≥ 0.17", at_least(0.17)),
        ("warm open-read-close, ro", "of tmpfs", ratio(LOOPS[2], "mlenvfs -o ro", "tmpfs"), "≥ 0.80", at_least(0.80)),
        ("warm grep -r, rw", "× tmpfs", ratio("grep -r", "mlenvfs", "tmpfs"), "≤ 2.5", at_most(2.5)),
        ("warm grep -r, ro", "× tmpfs", ratio("grep -r", "mlenvfs -o ro", "tmpfs"), "≤ 1.2", at_most(1.2)),
        ("grep -r right after the first find", "× tmpfs", ratio("grep -r right after the first find, no delay", "mlenvfs -o ro", "tmpfs"), "≤ 1.3", at_most(1.3)),
        ("grep -r right after the first find", "reads", sum(counts.get("read", 0) for counts in after_find.values()) if after_find else None, "0", at_most(0)),
        ("rsync -a, nothing changed, warm", "× ext4", ratio("rsync -a, nothing changed", "mlenvfs", "ext4"), "≤ 1.1", at_most(1.1)),
        ("rsync -a, nothing changed, after a remount", "× cold ext4", ratio(after, "mlenvfs", "ext4"), "≤ 1.2", at_most(1.2)),
        (far_find, "ms", ms(of(far_find)), f"≤ {1000 * limit:.0f}", at_most(1000 * limit)),
        (far_find, "times rclone's speed", ratio(far_find, "rclone", "mlenvfs"), "≥ 12", at_least(12)),
        (far_find, "times sshfs' speed", ratio(far_find, "sshfs", "mlenvfs"), "≥ 20", at_least(20)),
        (f"cold grep -r, {FAR}", "× the cold find", ratio(f"cold grep -r, {FAR}", "mlenvfs", "mlenvfs", far_find), "≤ 1.3", at_most(1.3)),
        ("first ls after a remount, very many", "s", of("first ls after a remount"), "< 0.3", at_most(0.3)),
        ("first ls after a remount, very many", "requests", figures.bench.counts.get("first ls after a remount", {}).get("requests"), "0", at_most(0)),
        (f"memory, {memory[0] if memory else 0:,} versions", "MB", memory[1] / 1e6 if memory else None, "≤ 200", at_most(200)),
        ("cat of one spec.yml", "times the SDK's speed (1.3 s, not measured here)", 1.3 / of("cat of one spec.yml, in a new process") if of("cat of one spec.yml, in a new process") else None, "≥ 500", at_least(500)),
        ("saving one line", "× the service's own PUT", ratio("saving one line", "mlenvfs", "the service's PUT"), "≤ 3", at_most(3)),
    ]
    return [row for row in rows if row[2] is not None]


def ms(seconds):
    return None if seconds is None else 1000 * seconds


# ---- text ----


def number(value):
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def cell(figures, row, system, base):
    value = figures.of(row, system)
    if value is None:
        return "–"
    to = figures.of(row, base)
    text = number(value) if row in LOOPS else number(ms(value))
    if not to or system == base:
        return text
    return f"{text} ({number(value / to)}×)"


def table(figures, rows, base, unit):
    shown = [system for system in SYSTEMS if any(figures.of(row, system) for row in rows)]
    lines = [f"| {unit} | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for row in rows:
        if row in figures.bench.results:
            lines.append(f"| {row} | " + " | ".join(cell(figures, row, system, base) for system in shown) + " |")
    return lines


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}; load at the end {load:.1f}"


def upcalls(figures):
    lines = ["| warm | mlenvfs | mlenvfs -o ro |", "|---|---|---|"]
    for row, counts in figures.bench.counts.items():
        if "mlenvfs -o ro" in counts or row in PLOTTED:
            cells = [", ".join(f"{n} {name}" for name, n in counts.get(system, {}).items()) or "0"
                     for system in ("mlenvfs", "mlenvfs -o ro")]
            lines.append(f"| {row} | {cells[0]} | {cells[1]} |")
    return lines


def options(bench):
    """What each option of the kernel is worth: the same command without it."""
    from bench import WITHOUT_WORDS  # pylint: disable=import-outside-toplevel

    lines = ["| work | ms | requests | without it | ms | requests | |", "|---|---|---|---|---|---|---|"]
    for (row, what), found in bench.options.items():
        as_is, left_out = (tuple(statistics.median(values) for values in zip(*found[which])) for which in (False, True))
        lines.append(f"| {row} | {number(ms(as_is[0]))} | {number(as_is[1])} | {WITHOUT_WORDS[what]} | {number(ms(left_out[0]))} | "
                     f"{number(left_out[1])} | {number(left_out[0] / as_is[0])}× |")
    return lines


def requests(figures):
    return [f"- {row}: {counts['requests']} requests to the service" for row, counts in figures.bench.counts.items()
            if isinstance(counts.get("requests"), int)]


def write(bench, out):
    from bench import FAR_ENVS, FAR_VERSIONS  # pylint: disable=import-outside-toplevel

    figures = Figures(bench)
    out.mkdir(parents=True, exist_ok=True)
    facts = bench.facts
    lines = ["# Benchmark", "",
             "Written by `make bench`, which measures everything anew on the machine it runs on; medians of one run. What the rows are,",
             "and why the kernel is used as it is: [kernel.md](kernel.md).", "",
             f"{datetime.date.today().isoformat()}, {machine()}. The run took {facts['seconds']:.0f} s{' (--quick: a look, not a measurement)' if bench.quick else ''}.", ""]
    if "tree" in facts:
        directories, files, size = facts["tree"]
        lines += [f"![Warm times beside ext4](benchmark.svg)", "",
                  f"The warm tree has {directories} directories and {files} files with {size / 1e6:.1f} MB; \"ext4\" is {facts['disk']}, \"tmpfs\" is {facts['memory fs']} on this machine.",
                  f"The cold one has {FAR_ENVS} environments of {FAR_VERSIONS} versions.", ""]
    lines += ["## Targets", "", "| work | measured as | is | is to be | |", "|---|---|---|---|---|"]
    lines += [f"| {work} | {unit} | {number(value)} | {text} | {'yes' if good(value) else '**no**'} |"
              for work, unit, value, text, good in targets(figures, FAR_ENVS)]
    lines += ["", "## Warm", "", "Milliseconds, and how many times ext4's.", ""]
    lines += table(figures, [*PLOTTED, "rsync -a, the first", "cat of one spec.yml, in a new process"], "ext4", "ms")
    lines += ["", "Operations a second on random files, and how many times tmpfs'.", ""]
    lines += table(figures, LOOPS, "tmpfs", "a second")
    if bench.counts:
        lines += ["", "What the kernel asked mlenvfs meanwhile:", "", *upcalls(figures)]
    if "daemons" in facts:
        lines += ["", "| daemon, after all warm rows | MB | seconds of CPU |", "|---|---|---|"]
        lines += [f"| {name} | {memory / 1e6:.0f} | {cpu:.1f} |" for name, (memory, cpu) in facts["daemons"].items()]
    if bench.options:
        lines += ["", "## What each use of the kernel is worth", "", "The same work with and without it ([kernel.md](kernel.md)).", "", *options(bench)]
    cold = sorted(row for row in bench.results if "delay" in row or FAR in row)
    lines += ["", "## Cold", "", f"Milliseconds. Nothing is known at the start; \"{FAR}\": every request to the server takes so much longer. (ext4: unmounted in between.)", ""]
    lines += table(figures, cold, None, "ms")
    lines += ["", *requests(figures)]
    rest = [row for row in ("saving one line", "first ls of a workspace", "first ls after a remount") if row in bench.results]
    lines += ["", "## The rest", ""]
    for row in rest:
        lines.append(f"- {row}: " + ", ".join(f"{system} {number(ms(figures.of(row, system)))} ms" for system in bench.results[row]))
    if "memory" in facts:
        versions, memory = facts["memory"]
        lines.append(f"- memory of the process that knows {versions:,} versions: {memory / 1e6:.0f} MB, {memory / versions:.0f} bytes each")
    if bench.notes:
        lines += ["", "## Not measured", "", *(f"- {note}" for note in dict.fromkeys(bench.notes))]
    (out / "benchmark.md").write_text("\n".join(lines) + "\n")
    if any(row in bench.results for row in PLOTTED):
        (out / "benchmark.svg").write_text(plot(figures))


# ---- the plot ----

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 860, 190, 70, 11, 16, 62


def plot(figures):
    """Bars, one group a row: how many times ext4's time, on a logarithmic scale."""
    shown = [system for system in SYSTEMS if system != "ext4" and any(figures.of(row, system) for row in PLOTTED)]
    groups = [(row, [(system, figures.ratio(row, system, "ext4")) for system in shown if figures.of(row, system)])
              for row in PLOTTED if row in figures.bench.results]
    values = [ratio for _, bars in groups for _, ratio in bars if ratio]
    low = 0.5 if min(values) >= 0.5 else 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(2, *values)))
    height = HEAD + sum(BAR * len(bars) + GAP for _, bars in groups) + 30

    def x(ratio):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(ratio) - math.log(low)) / (math.log(high) - math.log(low))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
             'font-family="sans-serif" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
             f'<text x="{LEFT}" y="18" font-size="14">Warm: how many times as long as ext4 (less is better)</text>']
    at = LEFT
    for system in shown:
        parts.append(f'<rect x="{at}" y="28" width="10" height="10" fill="{COLOURS[system]}"/><text x="{at + 14}" y="37">{system}</text>')
        at += 30 + 7 * len(system)
    tick = 1
    ticks = [low] if low < 1 else []
    while tick <= high:
        ticks += [tick]
        tick *= 10
    for tick in ticks:
        weight = 1.5 if tick == 1 else 0.5
        parts.append(f'<line x1="{x(tick):.1f}" y1="{HEAD - 10}" x2="{x(tick):.1f}" y2="{height - 24}" stroke="#666" stroke-width="{weight}"/>'
                     f'<text x="{x(tick):.1f}" y="{height - 10}" text-anchor="middle">{number(tick)}×</text>')
    y = HEAD
    for row, bars in groups:
        middle = y + BAR * len(bars) / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end" font-size="12">{row}</text>')
        for system, ratio in bars:
            begin, end = sorted((x(1), x(max(ratio, low))))
            parts.append(f'<rect x="{begin:.1f}" y="{y}" width="{max(end - begin, 1):.1f}" height="{BAR - 2}" fill="{COLOURS[system]}"/>'
                         f'<text x="{x(max(ratio, 1)) + 4:.1f}" y="{y + BAR - 3}" font-size="9">{number(ratio)}</text>')
            y += BAR
        y += GAP
    return "\n".join(parts + ["</svg>", ""])
