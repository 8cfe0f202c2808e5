"""What a campaign found, on the terminal and as docs/reliability.md."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml
from checks import Outcome
from faults import AREAS, KERNELS, ROOT

LISTS = ROOT / "tests/mutants/lists"
PROVABLE = ("emitted", "manifest", "generator")


@cache
def reasons() -> list[tuple[re.Pattern[str], str]]:
    """What changes nothing that a caller can see, and why."""
    listed = yaml.safe_load((LISTS / "equivalent.yaml").read_text())
    return [(re.compile(entry["what"]), entry["why"]) for entry in listed]


def equivalent(outcome: Outcome) -> str:
    """Why a fault made by rule that `prove` lets pass is none; empty if it is one."""
    if outcome.prove or not outcome.fault.place:
        return ""
    return next((why for pattern, why in reasons() if pattern.match(outcome.fault.what)), "")


def verdict(outcome: Outcome) -> str:
    """The first check that sees a fault."""
    if outcome.prove:
        return "prove"
    if equivalent(outcome):
        return "equivalent"
    if outcome.tests:
        return "tests"
    return "generate --check" if outcome.check else "nothing"


def line(outcome: Outcome | str) -> str:
    """For the terminal."""
    if isinstance(outcome, str):
        return f"does not fit: {outcome}"
    fault = outcome.fault
    said = outcome.prove or outcome.tests or outcome.check or ""
    return f"{verdict(outcome):16} {outcome.seconds:5.1f} s  {fault.file}: {fault.what} [{said[:120]}]"


def summary(outcomes: list[Outcome]) -> str:
    """Numbers of all areas."""
    lines = ["| where | faults | `prove` | tests | `generate --check` alone | nothing |", "|---|---|---|---|---|---|"]
    groups = [
        (title, [o for o in outcomes if o.fault.area == area and not o.fault.place]) for area, title in AREAS.items()
    ]
    drawn = [o for o in outcomes if o.fault.place]
    same = [o for o in drawn if verdict(o) == "equivalent"]
    groups.append(("Emitted files, made by rule", [o for o in drawn if o not in same]))
    provable = [o for o in outcomes if o.fault.area in PROVABLE and o not in same]
    groups.append(("**Emitted, manifest, generator together**", provable))
    for title, group in groups:
        if group:
            count = Counter(map(verdict, group))
            share = f" ({100 * count['prove'] / len(group):.1f} %)" if group is provable else ""
            numbers = [f"{count['prove']}{share}", count["tests"], count["generate --check"], count["nothing"]]
            lines.append(f"| {title} | {len(group)} | {' | '.join(map(str, numbers))} |")
    if same:
        lines += ["", f"Of {len(drawn)} faults made by rule, {len(same)} change nothing that a caller can see."]
        lines[-1] += " They are not counted."
    return "\n".join(lines)


def write(outcomes: list[Outcome]) -> None:
    """docs/reliability.md: what was found, then every fault that is listed, then those made by rule."""
    listed, drawn = ([o for o in outcomes if bool(o.fault.place) is made] for made in (False, True))
    work = sum(o.seconds for o in outcomes)
    text = [(LISTS / "found.md").read_text().rstrip(), ""]
    text += [
        "## Numbers",
        "",
        f"{len(outcomes)} faults, {work / 60:.0f} minutes of checks, shared by a machine's cores.",
        "",
    ]
    text += [summary(outcomes), ""]
    for area, title in AREAS.items():
        group = [o for o in listed if o.fault.area == area]
        if group:
            text += [f"## {title}", "", *rows(group), ""]
    text += ["## Emitted files, made by rule", "", *by_operator(drawn), ""]
    Path(ROOT / "docs/reliability.md").write_text("\n".join(text))


def rows(outcomes: Iterable[Outcome]) -> list[str]:
    """A table with a line for each fault."""
    lines = ["| fault | in | caught by | which says |", "|---|---|---|---|"]
    for o in outcomes:
        file = o.fault.file.removeprefix(f"{KERNELS}/").removeprefix("codegen/cartalg_codegen/")
        lines.append(f"| {o.fault.what} | {file} | {also(o)} | {said(o)} |")
    return lines


def also(outcome: Outcome) -> str:
    """Every check that was asked and saw a fault."""
    names = {"prove": outcome.prove, "generate --check": outcome.check, "tests": outcome.tests}
    return ", ".join(f"`{name}`" if name != "tests" else name for name, said in names.items() if said) or "**nothing**"


def said(outcome: Outcome) -> str:
    """The message of the first check, short, as text for a table."""
    text = (outcome.prove or outcome.tests or outcome.check or "").removeprefix("FAILED ")
    text = text.replace("Disproved: ", "").replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")
    return text if len(text) <= 140 else text[:139] + "…"


def by_operator(drawn: list[Outcome]) -> list[str]:
    """What operators did, and every fault that `prove` did not see."""
    lines = ["| change | faults | `prove` | equivalent | other |", "|---|---|---|---|---|"]
    kinds = dict.fromkeys(o.fault.what.partition(" in ")[0] for o in drawn)
    for kind in sorted(kinds):
        group = [verdict(o) for o in drawn if o.fault.what.partition(" in ")[0] == kind]
        same, proved = group.count("equivalent"), group.count("prove")
        lines.append(f"| {kind} | {len(group)} | {proved} | {same} | {len(group) - same - proved} |")
    survivors = [o for o in drawn if not o.prove]
    if survivors:
        lines += ["", "Those that `prove` lets pass:", "", "| kernel | change | why, or who sees it |", "|---|---|---|"]
        for o in survivors:
            what = o.fault.what.replace("|", "\\|")
            lines.append(f"| {o.fault.place} | {what} | {equivalent(o) or also(o)} |")
    return lines
