"""What `tdm plan` says: as text that fits 80 columns, or as JSON."""

import json
import textwrap

import numpy as np

from tdmlib.cli.outline import outline
from tdmlib.linear import composite, marginal_variance

SYMBOLS = {"teacher": "P", "flow": "Q"}
HELD = {"teacher": "the teacher's operator", "flow": "the probability-flow map"}
SOURCES = {"teacher": "the teacher", "flow": "the probability flow"}


def as_text(found, source: str, strategy: str | None, lines: int) -> str:
    """`found` is a `tdmlib.cli.planning.Answer`; `source` says where its spectrum comes from."""
    plans, cuts = found.best.plans, found.result.cuts
    table = _single_table(found) if found.lam.ndim == 0 else _spectrum_table(found)
    name = f" ({found.named})" if found.named else ""
    title = f"the best {'plans' if cuts else 'plan'}{name}, noise first:"
    parts = [
        _setting(found, source),
        f"{table}\n* least error of the four strategies",
        "\n".join(_wrapped(text) for text in (phase(found), certificate(found)) if text),
        f"{title}\n{outline(plans, lines)}",
    ]
    if strategy:
        rows = (plan.outline(lines) for plan in reversed(found.strategies[strategy].plans))
        parts.append("\n".join([f"{strategy}:", *rows]))
    return "\n\n".join(parts)


def _setting(found, source: str) -> str:
    lam, share = found.lam, "in all" if found.budget == "total" else "a merge"
    teacher = f"T = {found.schedule.T} {found.schedule_name} steps"
    time = f"training time s = {found.time:g} {share}"
    held = f"held against {HELD[found.reference]} {SYMBOLS[found.reference]}"
    if lam.ndim:
        data = f"{lam.size} variances λ{source}, {lam.min():.3g} … {lam.max():.3g}"
        lines = [f"{teacher}, {data}", f"{time}, {held}"]
    else:
        data = f"data variance λ = {lam:g}"
        lines = [f"{teacher}, {data}, {time}", f"{held} = {_number(found.target)}"]
    if cuts := found.result.cuts:
        levels = ", ".join(map(str, cuts))
        lines.append(f"student of K = {len(cuts) + 1} steps, which meet at levels {levels}")
    return "\n".join(map(_wrapped, lines))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 80, break_long_words=False, break_on_hyphens=False)


def _number(value) -> str:
    return f"{value:.6f}" if abs(value) < 1e5 else f"{value:.6e}"


def _rows(found):
    """Label and row, the best plan first."""
    yield "best", found.best
    for name, row in found.strategies.items():
        yield f"{name} *" if name in found.best_canonical else name, row


def _single_table(found) -> str:
    difference = f"S - {SYMBOLS[found.reference]}"
    lines = [f"{'plan':<25}{'merges':>7}{'operator S':>14}{difference:>14}{'W2 error':>13}"]
    for label, row in _rows(found):
        error = row.operator - found.target
        lines.append(
            f"{label:<25}{row.merges:>7}{_number(row.operator):>14}{error:>+14.4e}{row.w2:>13.4e}"
        )
    if found.bounds:
        for label, end in zip(("smallest", "largest"), found.bounds, strict=True):
            error = end - found.target
            lines.append(f"{label + ' of all plans':<32}{_number(end):>14}{error:>+14.4e}")
    return "\n".join(lines)


def _spectrum_table(found) -> str:
    lines = [f"{'plan':<25}{'merges':>7}{'W2 error':>13}{'over the best':>15}{'most of it at':>18}"]
    variance = marginal_variance(found.schedule, found.lam)[-1]
    for label, row in _rows(found):
        parts = variance * (row.operator - found.target) ** 2
        worst = f"λ = {found.lam[parts.argmax()]:.3g}" if parts.any() else ""
        over = f"{max(row.w2 - found.best.w2, 0):.3e}" if row is not found.best else ""
        lines.append(f"{label:<25}{row.merges:>7}{row.w2:>13.4e}{over:>15}{worst:>18}")
    lines.append(f"{'no plan is below':<32}{found.result.lower_bound:>13.4e}")
    return "\n".join(lines)


def phase(found) -> str:
    """Where λ lies between the phases, in words; "" where a theorem says all there is to say."""
    boot, vanilla = (f"{end:.5g}" for end in found.boundaries)
    below, mixed, above = found.phase_counts
    if found.lam.ndim:
        return (
            f"Phases: {below} λ ≤ {boot} (BOOT's), {mixed} between (mixed), "
            f"{above} λ ≥ {vanilla} (vanilla's)."
        )
    if mixed:
        return f"{boot} < λ < {vanilla} is the mixed phase, where no strategy is proved best."
    if below and found.reference == "flow":
        return f"λ ≤ {boot} is BOOT's phase, but against the flow no theorem holds there."
    return ""


def certificate(found) -> str:
    """Whether a better plan can exist, and why (not)."""
    if found.result.certified:
        return f"Certified optimal: {_proof(found)}."
    gap = found.result.gap
    share = f", {gap / found.result.error:.2g} of its error" if gap < found.result.error else ""
    return f"Not certified: {_doubt(found)}. No plan is better by more than {gap:.2g}{share}."


def _proof(found) -> str:
    result, K = found.result, len(found.best.plans)
    boot, vanilla = (f"{end:.5g}" for end in found.boundaries)
    if K == found.schedule.T:
        return "the student takes every step of its teacher, and merges none"
    if result.method == "exhaustive":
        return "all plans were tried"
    if result.method == "pareto" and result.cap is None:
        return "all plans were compared that no other one outdoes in every variance"
    if K == 1 and found.phases.all() and found.budget == "total":
        return (
            f"for λ ≤ {boot} and for λ ≥ {vanilla} no plan beats vanilla when all merges share the "
            "training time (this book)"
        )
    if K == 1 and (found.phases == 1).all():
        return f"for λ ≥ {vanilla} no plan beats vanilla (Gao and Li, Thm. 4.2, sharpened)"
    if K == 1 and (found.phases == -1).all():
        return f"for λ ≤ {boot} no plan beats sequential BOOT (Gao and Li, Thm. 4.3, sharpened)"
    if result.lower_bound == 0:
        return "what is left of its error is rounding"
    if found.lam.size > 1:
        return "no plan is better in any of the variances"
    side = "above" if found.target > result.operator else "below"
    return f"{SOURCES[found.reference]} lies {side} all plans, and none comes closer"


def _doubt(found) -> str:
    if found.result.method == "breakpoints":
        return "this method keeps to plans that train the student at T alone"
    if found.lam.size > 1:
        return "the variances want different plans, and one plan has to serve them all"
    if found.result.lower_bound > 0:
        return "the method is a heuristic here"
    return (
        f"{SOURCES[found.reference]} lies inside the range of all plans, where errors of opposite "
        "sign cancel and the search is a heuristic"
    )


def as_json(found, strategy: str | None) -> str:
    """One line a top-level key, so that lists stay together. Plans are flat, clean end first."""
    result = found.result
    best = _as_dict(found, found.best, with_plans=True) | {
        "strategy": found.named,
        "method": result.method,
        "certified": result.certified,
        "why": certificate(found),
        "lower_bound": result.lower_bound,
        "gap": result.gap,
    }
    report = {
        "schedule": found.schedule_name,
        "steps": found.schedule.T,
        "time": found.time,
        "budget": found.budget,
        "reference": found.reference,
        "student_steps": len(result.plans),
        "cuts": result.cuts,
        "lam": found.lam.tolist(),
        "teacher": composite(found.schedule, found.lam).tolist(),
        "target": found.target.tolist(),
        "bounds": None if found.bounds is None else [end.tolist() for end in found.bounds],
        "boundaries": found.boundaries,
        "phases": dict(zip(("boot", "mixed", "vanilla"), found.phase_counts, strict=True)),
        "best": best,
        "best_canonical": found.best_canonical,
        "strategies": {
            name: _as_dict(found, row, with_plans=name == strategy)
            for name, row in found.strategies.items()
        },
    }
    rows = (
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in report.items()
    )
    return "\n".join(["{", ",\n".join(rows), "}"])


def _as_dict(found, row, with_plans: bool) -> dict:
    content = {
        "operator": row.operator.tolist(),
        "error": np.subtract(row.operator, found.target).tolist(),
        "w2": row.w2,
        "merges": row.merges,
    }
    return content | ({"plans": [plan.to_json() for plan in row.plans]} if with_plans else {})
