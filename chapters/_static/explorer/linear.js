/**
 * Part I of the book on one page: what `tdmlib/linear` does for the cosine schedule, with the
 * teacher's composite operator as the reference. tests/book/test_explorer.py compares the two.
 *
 * Level t = 0 is clean, t = T is noise. Arrays over the steps hold that of A_t in entry t − 1.
 */
"use strict";

const Linear = (() => {
  const STRATEGIES = ["vanilla", "progressive", "sequential_consistency", "sequential_boot"];
  const EXHAUSTIVE = 9; // steps up to which all plans are tried

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
    return { T: schedule.T, lam, steps, gamma: residuals(schedule, lam, s), target: product(steps) };
  }

  /**
   * (λ_BOOT, λ_van): the least and the greatest ρ_j = tan θ_j / tan ½(θ_j + θ_{j−1}), 1 ≤ j < T,
   * with θ_j = πj/2T. Up to the first sequential BOOT is best, from the second on vanilla is
   * (Thms. 4.3 and 4.2, sharpened).
   */
  function phaseBoundaries(T) {
    const step = Math.PI / (2 * T);
    const rho = Array.from({ length: T - 1 }, (_, k) => Math.tan((k + 1) * step) / Math.tan((k + 0.5) * step));
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
      case "progressive": { // in pairs, stage by stage; an odd one out waits
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
    const spans = (plan) => merges(plan).map(({ i, j }) => `${i}-${j}`).sort().join();
    return spans(one) === spans(other);
  }

  /**
   * The largest, or smallest, operator of any plan on each interval (i, j], in O(T³), Thm. 4.1:
   * a merge increases in L and in R, so the extreme one joins the extreme R on (m, j] with the
   * extreme product L of sub-plans on (i, m], for the best cut m.
   */
  class Extreme {
    constructor({ T, steps, gamma }, largest) {
      const width = (this.width = T + 1), sign = (this.sign = largest ? 1 : -1);
      const plans = (this.plans = new Float64Array(width * width)); // (i, j] at i · width + j
      const products = (this.products = new Float64Array(width * width));
      Object.assign(this, { T, gamma });
      for (let t = 1; t <= T; t++) {
        plans[(t - 1) * width + t] = products[(t - 1) * width + t] = steps[t - 1];
      }
      for (let n = 2; n <= T; n++) {
        for (let i = 0, j = n; j <= T; i++, j++) {
          const g = gamma[j - 1], at = i * width;
          let plan = -Infinity, row = -Infinity;
          for (let m = i + 1; m < j; m++) {
            const left = products[at + m], right = plans[m * width + j] * sign;
            plan = Math.max(plan, right * (left + g * (1 - left)));
            row = Math.max(row, right * left);
          }
          plans[at + j] = plan * sign;
          products[at + j] = Math.max(plan, row) * sign;
        }
      }
    }

    /** The extreme operator of all plans over all steps. */
    get operator() {
      return this.plans[this.T];
    }

    /** A plan that attains it. */
    plan(i = 0, j = this.T) {
      if (j - i === 1) return step(j);
      const m = this.#cut(i, j, this.gamma[j - 1]);
      return merged([this.plan(m, j), ...this.#row(i, m)]);
    }

    /** The plans whose product is extreme on (i, j], noisiest first. */
    #row(i, j) {
      const at = i * this.width + j;
      if (this.products[at] === this.plans[at]) return [this.plan(i, j)];
      const m = this.#cut(i, j, 0);
      return [this.plan(m, j), ...this.#row(i, m)];
    }

    /** The best place to cut (i, j]; a merge that leaves γ = 0 is the plain product. */
    #cut(i, j, gamma) {
      let best = -Infinity, cut = i + 1;
      for (let m = i + 1; m < j; m++) {
        const right = this.plans[m * this.width + j];
        const value = this.sign * merge(this.products[i * this.width + m], right, gamma);
        if (value > best) [best, cut] = [value, m];
      }
      return cut;
    }
  }

  /**
   * A search for a target within the range of all plans, where errors of opposite sign can cancel.
   * Each interval keeps `cap` operators, evenly over their range, with both ends and the teacher's
   * neighbours on either side; all of them if `cap` is infinite, and then it is exact.
   */
  class Search {
    constructor({ T, steps, gamma }, cap) {
      Object.assign(this, { T, steps, gamma, cap });
      this.plans = steps.reduce((table) => [...table, []], [[]]); // [i][j]: {values, parts}
      this.rows = this.plans.map(() => []);
      for (let n = 1; n < T; n++) {
        for (let i = 0, j = n; j <= T; i++, j++) {
          const teacher = product(steps.subarray(i, j));
          const plans = (this.plans[i][j] = this.#keep(this.#allPlans(i, j), teacher));
          if (j < T) this.rows[i][j] = this.#keep(this.#allRows(i, j, plans), teacher);
        }
      }
    }

    /** The plan over all steps whose operator is closest to `target`; neither side is thinned. */
    nearest(target) {
      const g = this.gamma[this.T - 1];
      let least = Infinity, best;
      for (let m = 1; m < this.T; m++) {
        const rows = this.#allRows(0, m, this.#allPlans(0, m)), plans = this.#allPlans(m, this.T);
        const ascending = rows.values.slice().sort();
        for (let k = 0; k < plans.values.length; k++) {
          const right = plans.values[k];
          const wanted = (target / right - g) / (1 - g);
          const above = Math.min(firstAtLeast(ascending, wanted), ascending.length - 1);
          for (let near = Math.max(above - 1, 0); near <= above; near++) {
            const error = Math.abs(merge(ascending[near], right, g) - target);
            if (error < least) [least, best] = [error, { rows, plans, left: ascending[near], k }];
          }
        }
      }
      const { rows, plans, left, k } = best;
      return merged([...plans.parts(k), ...rows.parts(rows.values.indexOf(left))]);
    }

    /** Every merge on (i, j] of what the intervals inside have kept. */
    #allPlans(i, j) {
      if (j - i === 1) return { values: this.steps.subarray(i, j), parts: () => [step(j)] };
      const g = this.gamma[j - 1], { values, parts } = this.#pairs(i, j, g, 1 - g);
      return { values, parts: (k) => [merged(parts(k))] };
    }

    /** `plans`, one of them or several side by side. */
    #allRows(i, j, plans) {
      const count = plans.values.length, products = this.#pairs(i, j, 0, 1);
      const values = new Float64Array(count + products.values.length);
      values.set(plans.values);
      values.set(products.values, count);
      return { values, parts: (k) => (k < count ? plans.parts(k) : products.parts(k - count)) };
    }

    /** R · (offset + slope · L) for every row L and plan R that meet within (i, j]. */
    #pairs(i, j, offset, slope) {
      const cuts = [];
      let size = 0;
      for (let m = i + 1; m < j; m++) {
        const left = this.rows[i][m], right = this.plans[m][j];
        cuts.push({ left, right, first: size });
        size += left.values.length * right.values.length;
      }
      const values = new Float64Array(size);
      let k = 0;
      for (const { left, right } of cuts) {
        for (let b = 0; b < right.values.length; b++) {
          for (let a = 0; a < left.values.length; a++) {
            values[k++] = right.values[b] * (offset + slope * left.values[a]);
          }
        }
      }
      const parts = (place) => {
        const { left, right, first } = cuts.findLast((cut) => cut.first <= place);
        const n = left.values.length, a = (place - first) % n, b = Math.floor((place - first) / n);
        return [...right.parts(b), ...left.parts(a)];
      };
      return { values, parts };
    }

    #keep(all, teacher) {
      const { values, parts } = all, { cap } = this;
      const chosen = values.length > cap ? spread(values, teacher, cap) : [...values.keys()];
      const kept = Float64Array.from(chosen, (k) => values[k]);
      return { values: kept, parts: (k) => parts(chosen[k]) };
    }
  }

  /** The first place in an ascending array whose value is not below `wanted`. */
  function firstAtLeast(ascending, wanted) {
    let low = 0, high = ascending.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ascending[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Places of both ends, of the neighbours of `teacher`, and of `cap` − 4 values between. */
  function spread(values, teacher, cap) {
    let low = 0, high = 0, below = -1, above = -1;
    for (let k = 0; k < values.length; k++) {
      const value = values[k];
      if (value < values[low]) low = k;
      if (value > values[high]) high = k;
      if (value <= teacher && (below < 0 || value > values[below])) below = k;
      if (value >= teacher && (above < 0 || value < values[above])) above = k;
    }
    const cells = new Int32Array(cap - 4).fill(-1), width = values[high] - values[low];
    if (cells.length && width) {
      for (let k = 0; k < values.length; k++) {
        const cell = Math.floor(((values[k] - values[low]) / width) * cells.length);
        cells[Math.min(cell, cells.length - 1)] = k;
      }
    }
    return [...new Set([...cells, low, high, below, above])].filter((k) => k >= 0);
  }

  /**
   * The best plan for one variance, the range of all plans, and what is certain.
   *
   * proof: "theorem" (4.2 or 4.3), "range" (the target lies outside, so the nearer end is best),
   * "exhaustive" (all plans tried), "rounding" (no error left), null (a heuristic's).
   * @param {number} cap how many operators the heuristic keeps of an interval, 4 or more
   */
  function optimalPlan(given, cap = 4) {
    const { T, lam, target } = given, [boot, van] = phaseBoundaries(T);
    const ends = [false, true].map((largest) => new Extreme(given, largest));
    const bounds = ends.map((end) => end.operator);
    const found = (plan, proof) => {
      const operator = evaluate(plan, given);
      return { plan, operator, error: Math.abs(operator - target), proof, bounds };
    };
    if (lam <= boot) return found(canonicalPlan("sequential_boot", T), "theorem");
    if (lam >= van) return found(canonicalPlan("vanilla", T), "theorem");
    if (target <= bounds[0]) return found(ends[0].plan(), "range");
    if (target >= bounds[1]) return found(ends[1].plan(), "range");
    if (T <= EXHAUSTIVE) return found(new Search(given, Infinity).nearest(target), "exhaustive");
    const plans = [new Search(given, cap).nearest(target), ...STRATEGIES.map((name) => canonicalPlan(name, T))];
    const best = plans.map((plan) => found(plan, null)).reduce((a, b) => (b.error < a.error ? b : a));
    const exact = best.error <= 4 * T * Number.EPSILON * target; // what rounding alone can leave
    return { ...best, proof: exact ? "rounding" : null };
  }

  /**
   * Between the phase boundaries, the λ up to which all plans err upward, and the λ from which all
   * err downward: there the smallest, and the largest, operator crosses the teacher's. Found by
   * bisection, to a thousandth of the way.
   */
  function crossings(T, s) {
    const schedule = cosine(T), boundaries = phaseBoundaries(T);
    return [false, true].map((largest) => {
      let [low, high] = boundaries;
      for (let k = 0; k < 10; k++) {
        const middle = Math.sqrt(low * high), given = problem(schedule, middle, s);
        if (new Extreme(given, largest).operator > given.target) low = middle;
        else high = middle;
      }
      return high;
    });
  }

  /** The operators of `jumpThenBoot(m, T)` for m = 0 … T − 2, in O(T). */
  function jumps({ T, steps, gamma }) {
    const g = gamma[T - 1], operators = new Float64Array(T - 1);
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
    const schedule = cosine(T), plans = STRATEGIES.map((name) => canonicalPlan(name, T));
    const squares = new Float64Array(plans.length), jumpSquares = new Float64Array(T - 1);
    for (const lam of lams) {
      const one = problem(schedule, lam, s);
      plans.forEach((plan, k) => (squares[k] += (evaluate(plan, one) - one.target) ** 2));
      jumps(one).forEach((operator, m) => (jumpSquares[m] += (operator - one.target) ** 2));
    }
    const strategies = STRATEGIES.map((name, k) => [name, Math.sqrt(squares[k])]);
    return { strategies: Object.fromEntries(strategies), jumps: jumpSquares.map(Math.sqrt) };
  }

  return {
    STRATEGIES, cosine, stepOperators, residuals, problem, phaseBoundaries, canonicalPlan,
    jumpThenBoot, evaluate, merges, samePlan, Extreme, optimalPlan, crossings, jumps, spectrumErrors,
  };
})();
