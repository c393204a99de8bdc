"""Runs the benchmarks: `./dev bench`, or `python -m benchmarks`; `--help` lists the choices."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks import environments, machine
from benchmarks.bars import BARS, missed_bars
from benchmarks.chart import chart
from benchmarks.environments import CACHE, PEERS, Peer
from benchmarks.measuring import Measure, Result, Unmeasurable, fitting, in_turns, once, pin
from benchmarks.report import Report, bars_table, rewritten, table
from benchmarks.workloads import BY_NAME, WORKLOADS, Workload

DOCS = Path(__file__).parent.parent / "docs"
LIMIT = 60.0
"""Seconds that one measurement may take; those with a count of their own have ten times as long, and a soak its length more."""


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, writes; fails if a bar is missed."""
    options = _options(arguments)
    if options.draw is not None:
        report = Report.read(options.draw)
        print("\n\n".join(table(results) for workload in WORKLOADS if (results := report.of(workload.name))))
    else:
        report = _measured(options)
        report.write(options.output)
        options.output.with_suffix(".svg").write_text(chart(report), encoding="utf-8")
        print(f"\nwritten: {options.output}, {options.output.with_suffix('.svg')}")
    if options.update_docs:
        _update_docs(report)
    print("\nbars, as measured here:")
    print(bars_table(BARS, report.results))
    if options.draw is not None:
        return
    missed = bool(missed_bars(BARS, report.results))
    if options.guard:
        print("\nthe guard, actorkit and trio in one process:", flush=True)
        quick = ["--seconds", "0.05", "--repeats", "2"] if options.quick else []
        missed |= bool(subprocess.run([sys.executable, "-m", "benchmarks.guard", *quick], check=False).returncode)
    sys.exit(missed)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measures actorkit beside trio and others, all on one core.")
    usual = ", ".join(each.name for each in WORKLOADS if each.usual)
    parser.add_argument("--workloads", type=_names, help=f"some of: {usual}, million, recovery, soak (default: all but the last three)")
    parser.add_argument(
        "--peers", type=_names, help=f"some of: {', '.join(dict.fromkeys(each.key for each in PEERS))}, none (default: all but ray)"
    )
    parser.add_argument("--repeats", type=int, help="rounds (default: 5; with --million and --soak 1)")
    parser.add_argument("--seconds", type=float, default=0.4, help="that each measurement takes, about (default: 0.4)")
    parser.add_argument("--quick", action="store_true", help="two rounds of 0.05 s, to see that it works")
    parser.add_argument("--million", action="store_true", help="the workloads million and recovery only: a minute or two a round")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="the workload soak only, for so long")
    parser.add_argument("--output", type=Path, default=CACHE / "latest.json", help="where the figures go (default: .bench/latest.json)")
    parser.add_argument("--keep", action="store_true", help="keep what the output file has of other workloads")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="measure nothing, show the figures of an earlier run")
    parser.add_argument("--update-docs", action="store_true", help="write docs/benchmarks.md, .json and .svg")
    parser.add_argument("--no-guard", dest="guard", action="store_false", help="leave out the comparison in one process at the end")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds = 2, 0.05
    if options.million or options.soak:
        options.workloads = [*(["million", "recovery"] if options.million else []), *(["soak"] if options.soak else [])]
        options.peers, options.guard, options.repeats = ["none"], False, options.repeats or 1
    if options.repeats is None:
        options.repeats = 5
    if options.workloads is None:
        options.workloads = [each.name for each in WORKLOADS if each.usual]
    if unknown := set(options.workloads) - BY_NAME.keys():
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    if unknown := set(options.peers or []) - {each.key for each in PEERS} - {"none"}:
        parser.error(f"there is no peer {', '.join(sorted(unknown))}")
    if options.repeats < 1 or options.seconds <= 0:
        parser.error("expected one round or more, and more than no time")
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _measured(options: argparse.Namespace) -> Report:
    began = time.perf_counter()
    core = pin()
    where = "this system can't pin a process to a core: the figures are worth less" if core is None else f"all on core {core}"
    settings = {"how": f"{options.repeats} rounds of about {options.seconds:g} s each, {where}"}
    print(f"{', '.join(machine.description().values())}\n{settings['how']}", flush=True)
    commands, peers, skipped = _peers(options)
    results: list[Result] = []
    for name in options.workloads:
        workload = BY_NAME[name]
        others = {peer.name: (*command, name) for peer, command in commands.items() if name in peer.work}
        found, failed = _measure(workload, others, options, began)
        results += found
        skipped.update({f"{who} in {name}": reason for who, reason in failed.items()})
        if found:
            print(f"\n{table(found)}", flush=True)
        for who, reason in failed.items():
            print(f"  {who} is not measured: {reason}", flush=True)
    if options.keep and options.output.exists():
        before = Report.read(options.output)
        results = [each for each in before.results if each.workload not in options.workloads] + results
        peers, skipped = {**before.peers, **peers}, {**before.skipped, **skipped}
        settings = dict(before.settings) if options.million or options.soak else settings
    return Report(machine.description(), peers, skipped, settings, results)


def _peers(options: argparse.Namespace) -> tuple[dict[Peer, tuple[str, ...]], dict[str, str], dict[str, str]]:
    """How to run those that can be had, their versions, and why not the others."""
    commands: dict[Peer, tuple[str, ...]] = {}
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for peer in PEERS:
        if not set(peer.work) & set(options.workloads):
            continue
        if peer.key not in options.peers if options.peers is not None else not peer.usual:
            if options.peers is None:
                skipped[peer.name] = f"only when asked for: --peers {peer.key}"
            continue
        _say(f"getting {peer.name} ready")
        try:
            commands[peer] = environments.ready(peer)
            versions[peer.name] = environments.version(peer, commands[peer])
        except Unmeasurable as reason:
            skipped[peer.name] = str(reason)
            print(f"{peer.name} is not measured: {reason}", flush=True)
    return commands, versions, skipped


def _measure(
    workload: Workload, others: Mapping[str, tuple[str, ...]], options: argparse.Namespace, began: float
) -> tuple[list[Result], dict[str, str]]:
    limit = LIMIT if workload.fits else 10 * LIMIT + (options.soak or 0) * 60
    ours = {name: (sys.executable, "-m", "benchmarks.alone", workload.name, name) for name in workload.measures}
    measures: dict[str, Measure] = {}
    counts: dict[str, int] = {}
    failed: dict[str, str] = {}
    print(f"\n[{time.perf_counter() - began:.0f} s] {workload.name}: {len(ours) + len(others)} candidates", file=sys.stderr, flush=True)
    for name, command in {**ours, **others}.items():
        measure = partial(once, command, workload.unit, limit)
        _say(f"{workload.name}: how many can {name} do?")
        try:
            counts[name] = fitting(measure, workload.count, options.seconds) if workload.fits else workload.count
        except Unmeasurable as reason:
            failed[name] = str(reason)
            continue
        measures[name] = measure
    if workload.name == "soak" and options.soak:
        counts = dict.fromkeys(counts, max(1, round(options.soak * 60)))
    found, late = in_turns(workload.name, measures, counts, options.repeats, _say)
    _say("")
    return found, {**failed, **late}


def _say(text: str) -> None:
    """What is going on, on a line that the next one replaces; only where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _update_docs(report: Report) -> None:
    page = DOCS / "benchmarks.md"
    page.write_text(rewritten(page.read_text(encoding="utf-8"), report, BARS), encoding="utf-8")
    report.write(DOCS / "benchmarks.json")
    (DOCS / "benchmarks.svg").write_text(chart(report), encoding="utf-8")
    print(f"written: {page}, benchmarks.json, benchmarks.svg")


if __name__ == "__main__":
    main()
