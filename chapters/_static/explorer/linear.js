/**
 * Operators and merge plans: what `tdmlib/linear` does for the cosine schedule, with the teacher's
 * composite operator as the reference. tests/book/test_explorer.py compares the two.
 *
 * Level t = 0 is clean, t = T is noise. Arrays over the steps hold that of A_t in entry t − 1.
 */
"use strict";

const Linear = (() => {
  const STRATEGIES = ["vanilla", "progressive", "sequential_consistency", "sequential_boot"];

  /**
   * α_t = cos(πt/2T) and σ_t = sin(πt/2T), exact at both ends; so ‖v_T‖ = 1.
   * @param {number} T
   */
  function cosine(T) {
    const sigma = Float64Array.from({ length: T + 1 }, (_, t) => Math.sin((Math.PI * t) / (2 * T)));
    return { T, alpha: sigma.slice().reverse(), sigma };
  }

  /** A_t = ⟨v_{t−1}, v_t⟩ / ‖v_t‖² with v_t = (α_t √λ, σ_t), Cor. 3.1. */
  function stepOperators({ T, alpha, sigma }, lam) {
    const steps = new Float64Array(T);
    for (let t = 1; t <= T; t++) {
      const inner = alpha[t - 1] * alpha[t] * lam + sigma[t - 1] * sigma[t];
      steps[t - 1] = inner / (alpha[t] ** 2 * lam + sigma[t] ** 2);
    }
    return steps;
  }

  /** What training time s leaves of the start: γ_t = exp(−rate · s · ‖v_t‖²), Prop. 3.3. */
  function residuals({ T, alpha, sigma }, lam, s, rate = 2) {
    const gamma = new Float64Array(T);
    for (let t = 1; t <= T; t++) {
      gamma[t - 1] = Math.exp(-rate * s * (alpha[t] ** 2 * lam + sigma[t] ** 2));
    }
    return gamma;
  }

  /** (1 − γ) L R + γ R: the student trained toward L·R from its own R, Prop. 3.3. */
  const merge = (left, right, gamma) => right * (left + gamma * (1 - left));

  const product = (values) => values.reduce((a, b) => a * b, 1);

  /** One variance: its operators, and the teacher's composite P = A_1 ⋯ A_T (Def. 2.1). */
  function problem(schedule, lam, s) {
    const steps = stepOperators(schedule, lam);
    return {
      T: schedule.T,
      lam,
      steps,
      gamma: residuals(schedule, lam, s),
      target: product(steps),
    };
  }

  /**
   * (λ_BOOT, λ_van): the least and the greatest ρ_j = tan θ_j / tan ½(θ_j + θ_{j−1}), 1 ≤ j < T,
   * with θ_j = πj/2T. Up to the first sequential BOOT is best, from the second on vanilla is
   * (Thms. 4.3 and 4.2, sharpened).
   */
  function phaseBoundaries(T) {
    const step = Math.PI / (2 * T);
    const rho = Array.from(
      { length: T - 1 },
      (_, k) => Math.tan((k + 1) * step) / Math.tan((k + 0.5) * step),
    );
    return [Math.min(...rho), Math.max(...rho)];
  }

  /**
   * A merge plan on (i, j]: a tree of teacher steps and merges.
   * @typedef {{i: number, j: number, parts: Plan[]}} Plan  parts: noisiest first, [] for a step
   */
  const step = (t) => ({ i: t - 1, j: t, parts: [] });
  const merged = (parts) => ({ i: parts.at(-1).i, j: parts[0].j, parts });

  /** One of the four canonical plans over T ≥ 2 steps (Figs. 3 – 6). */
  function canonicalPlan(name, T) {
    const steps = Array.from({ length: T }, (_, k) => step(T - k)); // noisiest first
    switch (name) {
      case "vanilla":
        return merged(steps);
      case "progressive": {
        // in pairs, stage by stage; an odd one out waits
        let stage = steps;
        while (stage.length > 1) {
          const pairs = [];
          for (let k = 0; k < stage.length; k += 2) {
            pairs.push(k + 1 < stage.length ? merged([stage[k], stage[k + 1]]) : stage[k]);
          }
          stage = pairs;
        }
        return stage[0];
      }
      case "sequential_consistency": // grows from the clean end
        return steps.reduceRight((plan, noisier) => merged([noisier, plan]));
      case "sequential_boot": // grows from the noisy end: one student, trained again and again
        return steps.reduce((plan, cleaner) => merged([plan, cleaner]));
    }
  }

  /** One merge over the noisy steps (m, T], then A_m … A_1 one at a time; 0 ≤ m ≤ T − 2. */
  function jumpThenBoot(m, T) {
    let plan = merged(Array.from({ length: T - m }, (_, k) => step(T - k)));
    for (let t = m; t > 0; t--) plan = merged([plan, step(t)]);
    return plan;
  }

  /** The operator that a plan leaves. */
  function evaluate(plan, { steps, gamma }) {
    const operator = ({ j, parts }) => {
      if (!parts.length) return steps[j - 1];
      const [right, ...rest] = parts.map(operator);
      return merge(product(rest), right, gamma[j - 1]);
    };
    return operator(plan);
  }

  /** The plan's merges, each with how many stand in line below it, itself included. */
  function merges(plan) {
    const found = [];
    const height = ({ i, j, parts }) => {
      if (!parts.length) return 0;
      const own = 1 + Math.max(...parts.map(height));
      found.push({ i, j, height: own });
      return own;
    };
    height(plan);
    return found;
  }

  /** Two plans are the same tree when they make the same merges. */
  function samePlan(one, other) {
    const spans = (plan) =>
      merges(plan)
        .map(({ i, j }) => `${i}-${j}`)
        .sort()
        .join();
    return spans(one) === spans(other);
  }

  /** The operators of `jumpThenBoot(m, T)` for m = 0 … T − 2, in O(T). */
  function jumps({ T, steps, gamma }) {
    const g = gamma[T - 1];
    const operators = new Float64Array(T - 1);
    let jump = 1; // P_{m, T−1}
    for (let m = T - 2; m >= 0; m--) {
      jump *= steps[m];
      operators[m] = merge(jump, steps[T - 1], g);
    }
    let oneByOne = 1;
    for (let m = 1; m < T - 1; m++) {
      oneByOne *= merge(steps[m - 1], 1, g);
      operators[m] *= oneByOne;
    }
    return operators;
  }

  /**
   * W₂ errors (Σ (S − P)²)^½ over a spectrum, with inputs of variance ‖v_T‖² = 1 (Def. 4.1).
   * @returns {{strategies: Object<string, number>, jumps: Float64Array}} jumps: over m
   */
  function spectrumErrors(T, lams, s) {
    const schedule = cosine(T);
    const plans = STRATEGIES.map((name) => canonicalPlan(name, T));
    const squares = new Float64Array(plans.length);
    const jumpSquares = new Float64Array(T - 1);
    for (const lam of lams) {
      const one = problem(schedule, lam, s);
      plans.forEach((plan, k) => (squares[k] += (evaluate(plan, one) - one.target) ** 2));
      jumps(one).forEach((operator, m) => (jumpSquares[m] += (operator - one.target) ** 2));
    }
    const strategies = STRATEGIES.map((name, k) => [name, Math.sqrt(squares[k])]);
    return { strategies: Object.fromEntries(strategies), jumps: jumpSquares.map(Math.sqrt) };
  }

  return {
    STRATEGIES,
    cosine,
    merge,
    product,
    problem,
    phaseBoundaries,
    step,
    merged,
    canonicalPlan,
    jumpThenBoot,
    evaluate,
    merges,
    samePlan,
    jumps,
    spectrumErrors,
  };
})();
