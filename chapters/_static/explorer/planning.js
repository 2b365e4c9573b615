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
      const table = () => Array.from({ length: T + 1 }, () => []);
      const most = cap === Infinity ? planCount(T - 1) : T * cap ** 2; // pairs on an interval
      const head = Math.min(cap, most);
      Object.assign(this, { T, steps, gamma, cap, head });
      this.plans = table(); // [i][j]: what is kept of the plans on (i, j]
      this.rows = table(); // and of the rows: one plan, or several side by side
      this.openings = []; // [m]: all rows on (0, m]
      this.closings = []; // [m]: all plans on (m, T]
      // Scratch, as to make arrays by the thousand would take most of the time.
      this.merges = new Float64Array(most);
      this.products = new Float64Array(head + most);
      for (let n = 1; n < T; n++) {
        for (let i = 0, j = n; j <= T; i++, j++) this.#fill(i, j);
      }
    }

    #fill(i, j) {
      const { head, cap } = this;
      const teacher = product(this.steps.subarray(i, j));
      const pairs = this.#pair(i, j);
      const all = j - i === 1 ? this.steps.subarray(i, j) : this.merges.subarray(0, pairs);
      const plans = kept(all, teacher, cap);
      const rows = this.products.subarray(head - plans.values.length, head + pairs);
      rows.set(plans.values);
      this.plans[i][j] = plans;
      this.rows[i][j] = kept(rows, teacher, cap);
      if (i === 0) this.openings[j] = rows.slice();
      if (j === this.T) this.closings[i] = all.slice();
    }

    /** How many kept rows and kept plans meet within (i, j]; each pair is merged, and multiplied. */
    #pair(i, j) {
      const { merges, products, head } = this;
      const g = this.gamma[j - 1];
      let k = 0;
      for (let m = i + 1; m < j; m++) {
        const lefts = this.rows[i][m].values;
        const rights = this.plans[m][j].values;
        for (let b = 0; b < rights.length; b++) {
          for (let a = 0; a < lefts.length; a++, k++) {
            merges[k] = merge(lefts[a], rights[b], g);
            products[head + k] = rights[b] * lefts[a];
          }
        }
      }
      return k;
    }

    /** The plan over all steps whose operator is closest to `target`; neither side is thinned. */
    nearest(target) {
      const g = this.gamma[this.T - 1];
      let least = Infinity;
      let best;
      for (let m = 1; m < this.T; m++) {
        const lefts = this.openings[m].slice().sort();
        const rights = this.closings[m];
        for (let k = 0; k < rights.length; k++) {
          const wanted = (target / rights[k] - g) / (1 - g);
          const above = Math.min(firstAtLeast(lefts, wanted), lefts.length - 1);
          for (let near = Math.max(above - 1, 0); near <= above; near++) {
            const error = Math.abs(merge(lefts[near], rights[k], g) - target);
            if (error < least) [least, best] = [error, { m, k, left: lefts[near] }];
          }
        }
      }
      const { m, k, left } = best;
      const row = this.#row(0, m, this.openings[m].indexOf(left));
      return merged([this.#plan(m, this.T, k), ...row]);
    }

    /** The plan at place k of all on (i, j]. */
    #plan(i, j, k) {
      return j - i === 1 ? step(j) : merged(this.#parts(i, j, k));
    }

    /** The plans, noisiest first, of the row at place k of all on (i, j]. */
    #row(i, j, k) {
      const { places } = this.plans[i][j];
      if (k < places.length) return [this.#plan(i, j, places[k])];
      return this.#parts(i, j, k - places.length);
    }

    /** The plan on (m, j] and the row on (i, m] that are pair k within (i, j]. */
    #parts(i, j, k) {
      for (let m = i + 1; ; m++) {
        const lefts = this.rows[i][m].places;
        const rights = this.plans[m][j].places;
        const pairs = lefts.length * rights.length;
        if (k < pairs) {
          const right = rights[Math.floor(k / lefts.length)];
          return [this.#plan(m, j, right), ...this.#row(i, m, lefts[k % lefts.length])];
        }
        k -= pairs;
      }
    }
  }

  /** The values that a search keeps, `cap` at most, and their places among all. */
  function kept(values, teacher, cap) {
    const places = values.length > cap ? spread(values, teacher, cap) : [...values.keys()];
    return { places, values: places.map((k) => values[k]) };
  }

  /** The number of all plans on n steps: 1, 1, 3, 11, 45, …, the little Schröder numbers. */
  function planCount(n) {
    let [before, count] = [1, 1];
    for (let k = 2; k < n; k++) {
      [before, count] = [count, ((6 * k - 3) * count - (k - 2) * before) / (k + 1)];
    }
    return count;
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
    let [low, high, below, above] = [0, 0, -1, -1];
    let [least, most, under, over] = [values[0], values[0], -Infinity, Infinity];
    for (let k = 0; k < values.length; k++) {
      const value = values[k];
      if (value < least) [least, low] = [value, k];
      if (value > most) [most, high] = [value, k];
      if (value <= teacher && value > under) [under, below] = [value, k];
      if (value >= teacher && value < over) [over, above] = [value, k];
    }
    const cells = new Array(cap - 4).fill(-1);
    if (cells.length && most > least) {
      const scale = cells.length / (most - least);
      for (let k = 0; k < values.length; k++) {
        const cell = Math.floor((values[k] - least) * scale);
        cells[Math.min(cell, cells.length - 1)] = k;
      }
    }
    const places = [low, high, below, above, ...cells];
    return places.filter((k, n) => k >= 0 && places.indexOf(k) === n);
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
