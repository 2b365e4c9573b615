/**
 * The best merge plan for one variance, and the range of all plans: `interval.py`, `search.py` and
 * `candidates.py` of `tdmlib/linear`.
 */
"use strict";

const Planning = (() => {
  const { STRATEGIES, canonicalPlan, cosine, evaluate, merge, merged, phaseBoundaries } = Linear;
  const { problem, product, step } = Linear;
  const EXHAUSTIVE = 9; // steps up to which all plans are tried

  /**
   * The largest, or smallest, operator of any plan on each interval (i, j], in O(T³), Thm. 4.1:
   * a merge increases in L and in R, so the extreme one joins the extreme R on (m, j] with the
   * extreme product L of sub-plans on (i, m], for the best cut m.
   */
  class Extreme {
    constructor({ T, steps, gamma }, largest) {
      const width = (this.width = T + 1);
      const sign = (this.sign = largest ? 1 : -1);
      const plans = (this.plans = new Float64Array(width * width)); // (i, j] at i · width + j
      const products = (this.products = new Float64Array(width * width));
      Object.assign(this, { T, gamma });
      for (let t = 1; t <= T; t++) {
        plans[(t - 1) * width + t] = products[(t - 1) * width + t] = steps[t - 1];
      }
      for (let n = 2; n <= T; n++) {
        for (let i = 0, j = n; j <= T; i++, j++) {
          const g = gamma[j - 1];
          const at = i * width;
          let plan = -Infinity;
          let row = -Infinity;
          for (let m = i + 1; m < j; m++) {
            const left = products[at + m];
            const right = plans[m * width + j] * sign;
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
      let best = -Infinity;
      let cut = i + 1;
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
      let least = Infinity;
      let best;
      for (let m = 1; m < this.T; m++) {
        const rows = this.#allRows(0, m, this.#allPlans(0, m));
        const plans = this.#allPlans(m, this.T);
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
      const g = this.gamma[j - 1];
      const { values, parts } = this.#pairs(i, j, g, 1 - g);
      return { values, parts: (k) => [merged(parts(k))] };
    }

    /** `plans`, one of them or several side by side. */
    #allRows(i, j, plans) {
      const count = plans.values.length;
      const products = this.#pairs(i, j, 0, 1);
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
        const left = this.rows[i][m];
        const right = this.plans[m][j];
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
        const n = left.values.length;
        const a = (place - first) % n;
        const b = Math.floor((place - first) / n);
        return [...right.parts(b), ...left.parts(a)];
      };
      return { values, parts };
    }

    #keep(all, teacher) {
      const { values, parts } = all;
      const { cap } = this;
      const chosen = values.length > cap ? spread(values, teacher, cap) : [...values.keys()];
      const kept = Float64Array.from(chosen, (k) => values[k]);
      return { values: kept, parts: (k) => parts(chosen[k]) };
    }
  }

  /** The first place in an ascending array whose value is not below `wanted`. */
  function firstAtLeast(ascending, wanted) {
    let low = 0;
    let high = ascending.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ascending[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Places of both ends, of the neighbours of `teacher`, and of `cap` − 4 values between. */
  function spread(values, teacher, cap) {
    let low = 0;
    let high = 0;
    let below = -1;
    let above = -1;
    for (let k = 0; k < values.length; k++) {
      const value = values[k];
      if (value < values[low]) low = k;
      if (value > values[high]) high = k;
      if (value <= teacher && (below < 0 || value > values[below])) below = k;
      if (value >= teacher && (above < 0 || value < values[above])) above = k;
    }
    const cells = new Int32Array(cap - 4).fill(-1);
    const width = values[high] - values[low];
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
    const { T, lam, target } = given;
    const [boot, van] = phaseBoundaries(T);
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
    const plans = [
      new Search(given, cap).nearest(target),
      ...STRATEGIES.map((name) => canonicalPlan(name, T)),
    ];
    const best = plans
      .map((plan) => found(plan, null))
      .reduce((a, b) => (b.error < a.error ? b : a));
    const exact = best.error <= 4 * T * Number.EPSILON * target; // what rounding alone can leave
    return { ...best, proof: exact ? "rounding" : null };
  }

  /**
   * Between the phase boundaries, the λ up to which all plans err upward, and the λ from which all
   * err downward: there the smallest, and the largest, operator crosses the teacher's. Found by
   * bisection, to a thousandth of the way.
   */
  function crossings(T, s) {
    const schedule = cosine(T);
    const boundaries = phaseBoundaries(T);
    return [false, true].map((largest) => {
      let [low, high] = boundaries;
      for (let k = 0; k < 10; k++) {
        const middle = Math.sqrt(low * high);
        const given = problem(schedule, middle, s);
        if (new Extreme(given, largest).operator > given.target) low = middle;
        else high = middle;
      }
      return high;
    });
  }

  return { Extreme, optimalPlan, crossings };
})();
