/** The explorer's state as text, #lam=1.08&T=32&s=6.4, and numbers that a reader types. */
"use strict";

const Address = (() => {
  const LIMITS = { lam: [0.01, 100], T: [2, 64], s: [0.01, 10], m: [0, 62] };
  const MOST_OWN = 1024; // variances of the reader's own
  const LEAST = 1e-6; // of the largest of them
  const MOST_LINKED = 256; // of these in a link

  /**
   * Where the explorer begins. m = null stands for the best landing level; `data` names a spectrum,
   * or is "own" for the variances in `own`.
   * @param {string[]} names those of the spectra that there are
   */
  const initial = (names) => ({
    ...{ view: "one", lam: 1.08, T: 32, s: 6.4 },
    ...{ data: names[0], m: null, own: [] },
  });

  /** A number for λ, T, s or m; null if the text holds none, or one out of bounds. */
  function accepted(name, given) {
    const number = given.trim() === "" ? NaN : Number(given);
    const [low, high] = LIMITS[name];
    const fits = name === "lam" || name === "s" || Number.isInteger(number);
    return fits && number >= low && number <= high ? number : null;
  }

  /** The state that a fragment names; what is missing or makes no sense is as in the beginning. */
  function parsed(fragment, names) {
    const given = new URLSearchParams(fragment);
    const state = initial(names);
    for (const name of Object.keys(LIMITS)) {
      state[name] = accepted(name, given.get(name) ?? "") ?? state[name];
    }
    if (given.get("view") === "spectrum") state.view = "spectrum";
    if (names.includes(given.get("data"))) state.data = given.get("data");
    const { lams } = variancesIn(given.get("own") ?? "");
    if (given.get("data") === "own" && lams) Object.assign(state, { data: "own", own: lams });
    return state;
  }

  function written({ view, lam, T, s, data, m, own }) {
    if (view === "one") return `lam=${lam}&T=${T}&s=${s}`;
    const landing = m === null ? "" : `&m=${m}`;
    const numbers = data === "own" && own.length <= MOST_LINKED ? `&own=${own}` : "";
    return `view=spectrum&data=${encodeURIComponent(data)}&T=${T}&s=${s}${landing}${numbers}`;
  }

  /** Variances, falling, as {lams}; or one line on why the text holds none, as {fault}. */
  function variancesIn(given) {
    const words = given.split(/[\s,;]+/).filter((word) => word !== "");
    const bad = words.find((word) => !(Number(word) >= 0 && Number(word) <= 1e6));
    if (!words.length)
      return { fault: "Give at least one variance, a number that is not negative." };
    if (words.length > MOST_OWN) {
      return { fault: `These are ${words.length} numbers; give at most ${MOST_OWN}.` };
    }
    if (bad !== undefined) {
      const place = `“${bad.slice(0, 20)}” at place ${words.indexOf(bad) + 1}`;
      return { fault: `${place} is no variance: give numbers from 0 to a million.` };
    }
    const lams = words.map(Number).sort((a, b) => b - a);
    if (lams[0] < LEAST)
      return { fault: `The largest is ${lams[0]}: give one of at least ${LEAST}.` };
    return { lams };
  }

  return { LIMITS, MOST_LINKED, initial, accepted, parsed, written, variancesIn };
})();
