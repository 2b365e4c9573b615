/** What the explorer's pictures show, in words and as a table. */
"use strict";

const Words = (() => {
  const { text } = Drawing;

  const PROOFS = {
    theorem: "That no plan is better is a theorem.",
    range: "That no plan is better is certain: the teacher lies outside the range of all plans.",
    exhaustive: "That no plan is better is certain: all were tried.",
    rounding: "It meets the teacher up to rounding, so none is better.",
    heuristic:
      "The teacher lies within the range of all plans, where errors cancel: " +
      "found by a search that may miss better ones.",
  };

  const percent = (loss) => `${text(100 * loss, 3)}%`;

  function planName({ best, same }, labels) {
    const count = Linear.merges(best.plan).length;
    return `${same ? labels[same] : "none of the four"}, ${count} merge${count > 1 ? "s" : ""}`;
  }

  function phaseOf(lam, [boot, van]) {
    if (lam <= boot) return "the phase of sequential BOOT";
    return lam >= van ? "the phase of vanilla distillation" : "the mixed phase";
  }

  /** One variance in a sentence or two. */
  function one({ lam, T, s }, shown, labels) {
    const { best, same, boundaries, strategies, given } = shown;
    const missed = strategies.map(([, label, S]) => [label, Math.abs(S - given.target)]);
    const [label, error] = missed.reduce((a, b) => (b[1] < a[1] ? b : a));
    return (
      `λ = ${text(lam)}, T = ${T}, s = ${text(s)}: ${phaseOf(lam, boundaries)}. ` +
      `Best plan: ${planName(shown, labels)}, W₂ error ${text(best.error, 3)}. ` +
      PROOFS[best.proof ?? "heuristic"] +
      (same ? "" : ` Best of the four strategies: ${label}, ${text(error, 3)}.`)
    );
  }

  function tableOfOne({ given, best, strategies, boundaries }) {
    const { target } = given;
    const row = (label, S) => [
      label,
      ...[text(S, 6), text(S - target, 4), text(Math.abs(S - target), 4)],
    ];
    return [
      ["", "operator S", "S − P", "W₂ error"],
      ...strategies.map(([, label, operator]) => row(label, operator)),
      row("best of all plans", best.operator),
      row("smallest of all plans", best.bounds[0]),
      row("largest of all plans", best.bounds[1]),
      ["teacher P", text(target, 6), "0", "0"],
      ["λ_BOOT", text(boundaries[0], 6), "", ""],
      ["λ_van", text(boundaries[1], 6), "", ""],
    ];
  }

  /** A spectrum in a sentence or two. */
  function spectrum({ T, s, data }, { lams, losses, strategies, best, m, boundaries }) {
    const [boot, van] = boundaries;
    const low = lams.filter((lam) => lam <= boot).length;
    const high = lams.filter((lam) => lam >= van).length;
    const name = data === "own" ? "Your own numbers" : data;
    return (
      `${name}, ${lams.length} ${lams.length === 1 ? "variance" : "variances"}: ${low} in BOOT’s phase, ` +
      `${lams.length - low - high} in the mixed phase, ${high} in vanilla’s. ` +
      `T = ${T}, s = ${text(s)}. W₂ error as a share of the data’s standard deviation: ` +
      `vanilla ${percent(strategies.vanilla)}, ` +
      `sequential BOOT ${percent(strategies.sequential_boot)}, ` +
      `the best jump lands at m = ${best}, ${percent(losses[best])}.` +
      (m === best ? "" : ` To m = ${m}: ${percent(losses[m])}.`)
    );
  }

  function tableOfSpectrum({ losses, strategies }, labels) {
    return [
      ["", "loss"],
      ...Linear.STRATEGIES.map((name) => [labels[name], percent(strategies[name])]),
      ...Array.from(losses, (loss, m) => [`jump to m = ${m}, then BOOT`, percent(loss)]),
    ];
  }

  function merges(plan) {
    const spans = Linear.merges(plan).map(({ i, j }) => `(${i}, ${j}]`);
    return `Merges of the plan, (i, j] in the order of training: ${spans.join(" ")}`;
  }

  return { planName, percent, one, tableOfOne, spectrum, tableOfSpectrum, merges };
})();
