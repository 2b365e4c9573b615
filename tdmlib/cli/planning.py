"""`tdm plan`: the canonical strategies on one variance, with what the theorems say of it."""

import json

from tdmlib.errors import InputError, check_number
from tdmlib.linear import (
    STRATEGIES,
    canonical_plan,
    composite,
    evaluate,
    phase_boundaries,
    w2_error,
)
from tdmlib.schedules import cosine


def verdict(lam: float, boundaries: tuple[float, float]) -> str:
    """Which phase λ is in, and what is proved there."""
    boot, vanilla = boundaries
    if lam <= boot:
        return f"λ ≤ {boot:.4f}: no plan beats sequential BOOT (Gao and Li, Thm. 4.3, sharpened)"
    if lam >= vanilla:
        return f"λ ≥ {vanilla:.4f}: no plan beats vanilla (Gao and Li, Thm. 4.2, sharpened)"
    return (
        f"{boot:.4f} < λ < {vanilla:.4f}: mixed phase, where no canonical strategy is proved best"
    )


def run(steps: int, time: float, lam: float, strategy: str | None, as_json: bool) -> None:
    schedule = cosine(check_number("steps", steps, 2, 100_000, whole=True))
    if strategy is not None and strategy not in STRATEGIES:
        raise InputError(f"strategy {strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}")
    teacher = float(composite(schedule, lam))
    boundaries = phase_boundaries(schedule)
    rows = {}
    for name in STRATEGIES:
        merged = canonical_plan(name, steps)
        operator = evaluate(merged, schedule, lam, time)
        rows[name] = {
            "operator": float(operator),
            "error": float(operator) - teacher,
            "w2": w2_error(operator, schedule, lam),
            "merges": len(merged.merges),
        }
    least = min(row["w2"] for row in rows.values())
    best = [name for name, row in rows.items() if row["w2"] <= least * (1 + 1e-9)]  # rounding ties
    if as_json:
        report = {
            "steps": steps,
            "time": time,
            "lam": lam,
            "teacher": teacher,
            "boundaries": boundaries,
            "verdict": verdict(lam, boundaries),
            "best_canonical": best,
            "strategies": rows,
        }
        if strategy:
            report["plan"] = canonical_plan(strategy, steps).to_json()
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return
    print(
        f"T = {steps} cosine steps, data variance λ = {lam:g}, training time s = {time:g} a merge"
    )
    print(f"teacher's operator P = {teacher:.6f}\n")
    print(f"{'strategy':<24}{'merges':>7}{'operator S':>13}{'S - P':>13}{'W2 error':>12}")
    for name, row in rows.items():
        mark = " *" if name in best else ""
        print(
            f"{name + mark:<24}{row['merges']:>7}{row['operator']:>13.6f}"
            f"{row['error']:>+13.4e}{row['w2']:>12.4e}"
        )
    print(f"\n* least error of the four\n{verdict(lam, boundaries)}")
    if strategy:
        print(f"\n{strategy}:\n{canonical_plan(strategy, steps)}")
