/**
 * The explorer's state, and what changes it: controls, the pictures themselves, the address.
 * A change is drawn in the next frame; what may wait (the address, the words for a screen reader,
 * a longer search) follows when the state has rested.
 */
"use strict";

const Explorer = (() => {
  const { lamAtPlace, placeOfLam, text, clamp } = Panels;
  const REST = 250; // milliseconds
  const LIMITS = { lam: [0.01, 100], T: [2, 64], s: [0.01, 10], m: [0, 62] };
  const MOST_OWN = 1024, MOST_LINKED = 256; // variances of the reader's own; of these in a link
  const NAMES = { lam: "λ", T: "T", s: "s", m: "m" };

  const $ = (id) => document.getElementById(`x-${id}`);
  const root = document.getElementById("explorer");
  const { colors, labels, spectra } = JSON.parse(document.getElementById("explorer-data").textContent);
  const DEFAULTS = { view: "one", lam: 1.08, T: 32, s: 6.4, data: Object.keys(spectra)[0], m: null, own: [] };

  let state = { ...DEFAULTS };
  let frame = 0, resting = 0;
  let shown; // what the last update has computed
  let took = 0; // milliseconds of script that it took

  // ---- the state as text: #view=one&lam=1.08&T=32&s=6.4

  /** A number of the reader's, or null if it is none or out of bounds. */
  function accepted(name, value) {
    const number = String(value).trim() === "" ? NaN : Number(value), [low, high] = LIMITS[name];
    const whole = name === "lam" || name === "s" || Number.isInteger(number);
    return whole && number >= low && number <= high ? number : null;
  }

  /** What is missing or makes no sense is as it is by default. */
  function parsed(fragment) {
    const given = new URLSearchParams(fragment), read = { ...DEFAULTS };
    for (const name of Object.keys(LIMITS)) {
      read[name] = (given.has(name) ? accepted(name, given.get(name)) : null) ?? DEFAULTS[name];
    }
    if (given.get("view") === "spectrum") read.view = "spectrum";
    const own = variancesIn(given.get("own") ?? "");
    if (own.lams) read.own = own.lams;
    const data = given.get("data");
    if (Object.hasOwn(spectra, data ?? "") || (data === "own" && own.lams)) read.data = data;
    return read;
  }

  function written() {
    const { view, lam, T, s, data, m, own } = state;
    if (view === "one") return `lam=${lam}&T=${T}&s=${s}`;
    const tail = (m === null ? "" : `&m=${m}`) + (data === "own" && own.length <= MOST_LINKED ? `&own=${own}` : "");
    return `view=spectrum&data=${encodeURIComponent(data)}&T=${T}&s=${s}${tail}`;
  }

  /** Variances from text, falling; or one line on why it holds none. */
  function variancesIn(given) {
    const words = given.split(/[\s,;]+/).filter((word) => word !== "");
    const bad = words.findIndex((word) => !(Number(word) >= 0 && Number(word) < 1e6));
    if (!words.length) return { fault: "Give at least one variance, a number that is not negative." };
    if (words.length > MOST_OWN) return { fault: `These are ${words.length} numbers; give at most ${MOST_OWN}.` };
    if (bad >= 0) return { fault: `“${words[bad].slice(0, 20)}” at place ${bad + 1} is no variance: give numbers from 0 to a million.` };
    return { lams: words.map(Number).sort((a, b) => b - a) };
  }

  // ---- one variance

  const curves = new Map(); // T -> [s, λ_up, λ_down], from small s to large

  /** A few milliseconds' worth of the borders within the mixed phase; true if some are missing. */
  function trace(T) {
    if (!curves.has(T)) curves.set(T, []);
    const known = curves.get(T), until = performance.now() + 4;
    while (known.length < 41 && performance.now() < until) {
      const s = 10 ** (-2 + (3 * known.length) / 40);
      known.push([s, ...Linear.crossings(T, s)]);
    }
    return known.length < 41;
  }

  function compute(cap) {
    const { lam, T, s } = state, schedule = Linear.cosine(T);
    const given = Linear.problem(schedule, lam, s), best = Linear.optimalPlan(given, cap);
    const plans = Linear.STRATEGIES.map((name) => [name, Linear.canonicalPlan(name, T)]);
    const strategies = plans.map(([name, plan]) => [name, labels[name], Linear.evaluate(plan, given)]);
    const same = plans.find(([, plan]) => Linear.samePlan(plan, best.plan))?.[0];
    return { schedule, given, best, strategies, same, boundaries: Linear.phaseBoundaries(T) };
  }

  function drawOne() {
    const { lam, T, s } = state, { given, best, strategies, boundaries, same } = shown;
    const { target } = given, rows = [...strategies, ["best", "best of all plans", best.operator]];
    const signed = rows.map(([name, label, operator]) => [name, label, operator - target]);
    draw.phases({ lam, s, boundaries, curves: curves.get(T) ?? [] });
    draw.plan({ plan: best.plan, name: same, T });
    draw.errors(signed.map(([name, label, error]) => [name, label, Math.abs(error)]));
    draw.range({ low: best.bounds[0] - target, high: best.bounds[1] - target, rows: signed });
    draw.ellipse(shown);
    $("plan-title").textContent = `The best plan: ${planName()}`;
  }

  function planName() {
    const count = Linear.merges(shown.best.plan).length;
    return `${shown.same ? labels[shown.same] : "none of the four"}, ${count} merge${count > 1 ? "s" : ""}`;
  }

  const PROOFS = {
    theorem: "That no plan is better is a theorem.",
    range: "That no plan is better is certain: the teacher lies outside the range of all plans.",
    exhaustive: "That no plan is better is certain: all were tried.",
    rounding: "It meets the teacher up to rounding, so none is better.",
    heuristic: "The teacher lies within the range of all plans, where errors cancel: found by a search that may miss better ones.",
  };

  function sayOne() {
    const { lam, T, s } = state, { best, boundaries: [boot, van], strategies, given } = shown;
    const phase = lam <= boot ? "the phase of sequential BOOT" : lam >= van ? "the phase of vanilla distillation" : "the mixed phase";
    const [, label, operator] = strategies.reduce((a, b) => (Math.abs(b[2] - given.target) < Math.abs(a[2] - given.target) ? b : a));
    return `λ = ${text(lam)}, T = ${T}, s = ${text(s)}: ${phase}. Best plan: ${planName()}, W₂ error ${text(best.error, 3)}. `
      + `${PROOFS[best.proof ?? "heuristic"]} Best of the four strategies: ${label}, ${text(Math.abs(operator - given.target), 3)}.`;
  }

  function tableOne() {
    const { given, best, strategies, boundaries } = shown, { target } = given;
    const row = (label, operator) => [label, text(operator, 6), text(operator - target, 4), text(Math.abs(operator - target), 4)];
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

  // ---- a spectrum

  function computeSpectrum() {
    const { T, s, data, own } = state, lams = data === "own" ? own : spectra[data];
    const total = Math.sqrt(lams.reduce((a, b) => a + b, 0)) || 1;
    const found = Linear.spectrumErrors(T, lams, s);
    const losses = found.jumps.map((error) => error / total);
    const strategies = Object.fromEntries(Object.entries(found.strategies).map(([name, error]) => [name, error / total]));
    const best = losses.indexOf(Math.min(...losses)), m = Math.min(state.m ?? best, T - 2);
    return { lams, losses, strategies, best, m, boundaries: Linear.phaseBoundaries(T) };
  }

  const percent = (loss) => `${text(100 * loss, 3)}%`;

  function drawSpectrum() {
    const { T } = state, { losses, strategies, m, best } = shown;
    const rows = [...Linear.STRATEGIES.map((name) => [name, labels[name], strategies[name]]), ["best", `jump to m = ${m}, then BOOT`, losses[m]]];
    draw.spectrum(shown);
    draw.jumps({ ...shown, labels });
    draw.losses(rows.map(([name, label, loss]) => [name, label, loss, percent(loss)]));
    draw.jump({ plan: Linear.jumpThenBoot(m, T), name: m === 0 ? "vanilla" : m === T - 2 ? "sequential_boot" : "best", T });
    $("jump-title").textContent = `The plan that jumps to m = ${m}${m === best ? ", the best" : ""}`;
  }

  function countPhases() {
    const { lams, boundaries: [boot, van] } = shown;
    const low = lams.filter((lam) => lam <= boot).length, high = lams.filter((lam) => lam >= van).length;
    return { low, high, mixed: lams.length - low - high };
  }

  function saySpectrum() {
    const { T, s } = state, { lams, losses, strategies, best, m } = shown, { low, mixed, high } = countPhases();
    const other = m === best ? "" : ` To m = ${m}: ${percent(losses[m])}.`;
    return `${dataName()}, ${lams.length} variances: ${low} in BOOT’s phase, ${mixed} in the mixed phase, ${high} in vanilla’s. T = ${T}, s = ${text(s)}. `
      + `W₂ error as a share of the data’s standard deviation: vanilla ${percent(strategies.vanilla)}, sequential BOOT ${percent(strategies.sequential_boot)}, `
      + `the best jump lands at m = ${best}, ${percent(losses[best])}.${other}`;
  }

  function tableSpectrum() {
    const { losses, strategies } = shown;
    return [
      ["", "loss"],
      ...Linear.STRATEGIES.map((name) => [labels[name], percent(strategies[name])]),
      ...Array.from(losses, (loss, m) => [`jump to m = ${m}, then BOOT`, percent(loss)]),
    ];
  }

  const dataName = () => $("data").selectedOptions[0].textContent;

  // ---- updating

  const draw = {
    phases: Panels.phases($("phases"), (lam, s) => change({ lam: rounded(lam, 4), s: rounded(s, 3) })),
    plan: Panels.arcs($("plan")),
    errors: Panels.errors($("errors"), "W₂ error (log scale)", -12),
    range: Panels.spread($("range")),
    ellipse: Panels.ellipse($("ellipse")),
    spectrum: Panels.spectrum($("spectrum")),
    jumps: Panels.jumps($("jumps"), (m) => change({ m })),
    losses: Panels.errors($("losses"), "W₂ error over standard deviation (log scale)", -5),
    jump: Panels.arcs($("jump")),
  };
  const rounded = (value, digits) => Number(value.toPrecision(digits));

  function change(changes) {
    state = { ...state, ...changes };
    frame ||= requestAnimationFrame(update);
    clearTimeout(resting);
    resting = setTimeout(settle, REST);
  }

  function update() {
    const begin = performance.now(), one = state.view === "one";
    frame = 0;
    for (const part of root.querySelectorAll("[data-view]")) part.hidden = part.dataset.view !== state.view;
    const more = one && trace(state.T);
    shown = one ? compute(4) : computeSpectrum();
    showControls();
    if (one) drawOne();
    else drawSpectrum();
    $("summary").textContent = one ? sayOne() : saySpectrum();
    if (root.querySelector("details").open) showTable();
    took = performance.now() - begin;
    if (more) frame ||= requestAnimationFrame(update);
  }

  /** Controls follow the state, except one that is being typed in. */
  function showControls() {
    const { view, lam, T, s, data } = state, m = shown.m ?? 0;
    const place = { lam: Math.round(1000 * placeOfLam(lam)), T, s: Math.round(100 * (Math.log10(s) + 2)), m };
    root.querySelector(`[name=view][value=${view}]`).checked = true;
    $("m").max = T - 2;
    for (const [name, value] of Object.entries({ lam, T, s, m })) {
      const range = $(name), exact = $(`${name}-exact`);
      range.value = name === "m" ? value : place[name];
      range.setAttribute("aria-valuetext", `${NAMES[name]} = ${text(value)}`);
      if (document.activeElement !== exact) exact.value = String(value);
    }
    if (document.activeElement !== $("data")) $("data").value = data;
    $("paste").hidden = data !== "own" && $("data").value !== "own";
  }

  function settle() {
    if (frame) return void (resting = setTimeout(settle, REST));
    const one = state.view === "one";
    if (one && shown.best.proof === null) { // time for a longer search
      shown = compute(state.T > 32 ? 8 : 16);
      drawOne();
      $("summary").textContent = sayOne();
    }
    const words = $("summary").textContent;
    $("spoken").textContent = words;
    for (const svg of root.querySelectorAll("svg[role=img]")) {
      const title = svg.closest("figure").querySelector("figcaption").textContent;
      svg.setAttribute("aria-label", `${title}. ${words}`);
    }
    showTable();
    try {
      history.replaceState(null, "", `#${written()}`);
    } catch {
      // a browser that keeps pages from files from doing so; the link can still be copied
    }
  }

  function showTable() {
    const [head, ...rows] = state.view === "one" ? tableOne() : tableSpectrum(), table = $("table");
    const cells = (row, tag) => row.map((value, k) => Object.assign(document.createElement(k && tag === "td" ? "td" : "th"), { textContent: value, scope: tag === "th" ? "col" : "row" }));
    const line = (row, tag) => {
      const tr = document.createElement("tr");
      tr.append(...cells(row, tag));
      return tr;
    };
    table.tHead.replaceChildren(line(head, "th"));
    table.tBodies[0].replaceChildren(...rows.map((row) => line(row, "td")));
    const plan = state.view === "one" ? shown.best.plan : Linear.jumpThenBoot(shown.m, state.T);
    $("merges").textContent = `Merges of the plan, (i, j] in the order of training: ${Linear.merges(plan).map(({ i, j }) => `(${i}, ${j}]`).join(" ")}`;
  }

  // ---- what the reader does

  function listen() {
    const sliders = {
      lam: (place) => rounded(lamAtPlace(place / 1000), 4),
      T: (value) => value,
      s: (place) => rounded(10 ** (place / 100 - 2), 3),
      m: (value) => value,
    };
    for (const [name, value] of Object.entries(sliders)) {
      $(name).addEventListener("input", (event) => change({ [name]: clamp(value(Number(event.target.value)), ...LIMITS[name]) }));
      $(`${name}-exact`).addEventListener("change", (event) => {
        const given = event.target.value, number = accepted(name, given.replace(",", "."));
        const [low, high] = name === "m" ? [0, state.T - 2] : LIMITS[name];
        const fits = number !== null && number <= high;
        $("fault").textContent = fits ? "" : `${NAMES[name]} = ${given.slice(0, 20)}: give a ${name === "T" || name === "m" ? "whole " : ""}number from ${low} to ${high}.`;
        event.target.setAttribute("aria-invalid", String(!fits));
        if (fits) change({ [name]: number });
      });
    }
    for (const form of root.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
    for (const radio of root.querySelectorAll("[name=view]")) radio.addEventListener("change", () => change({ view: radio.value }));
    $("data").addEventListener("change", ({ target }) => {
      if (target.value !== "own") return change({ data: target.value, m: null });
      $("paste").hidden = false;
      readOwn();
    });
    $("own").addEventListener("input", readOwn);
    root.querySelector("details").addEventListener("toggle", () => shown && showTable());
    $("copy").addEventListener("click", copyLink);
    $("reset").addEventListener("click", () => {
      $("own").value = $("fault").textContent = $("own-fault").textContent = "";
      change({ ...DEFAULTS, view: state.view });
    });
    window.addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return; // a heading
      restore();
      root.scrollIntoView();
    });
  }

  /** The last spectrum stays while what is typed is none. */
  function readOwn() {
    const { lams, fault } = variancesIn($("own").value);
    const untouched = $("own").value.trim() === "";
    $("own-fault").textContent = untouched ? "" : fault ?? "";
    if (lams) change({ data: "own", own: lams, m: null });
  }

  function restore() {
    state = parsed(location.hash.slice(1));
    if (state.data === "own") $("own").value = state.own.join(", ");
    change({});
  }

  async function copyLink() {
    const link = `${location.href.split("#")[0]}#${written()}`, field = $("link");
    const left = state.view === "spectrum" && state.data === "own" && state.own.length > MOST_LINKED;
    try {
      await navigator.clipboard.writeText(link);
      field.hidden = true;
      $("told").textContent = left ? `Copied, without your numbers: a link holds ${MOST_LINKED}.` : "Link copied.";
    } catch {
      field.hidden = false;
      field.value = link;
      field.select();
      $("told").textContent = "Copy it from here:";
    }
  }

  for (const [name, color] of Object.entries(colors)) root.style.setProperty(`--${name}`, color);
  $("data").append(...[...Object.keys(spectra), "own"].map((name) => new Option(name === "own" ? "your own numbers" : name, name)));
  root.querySelector("details").open = matchMedia("(min-width: 1000px)").matches;
  listen();
  restore();
  cancelAnimationFrame(frame);
  update();
  performance.mark("explorer-drawn");

  return { get state() { return state; }, get shown() { return shown; }, get took() { return took; } };
})();
