/**
 * The explorer's state, and what changes it: controls, the pictures themselves, the address.
 * A change is drawn in the next frame; what may wait (the address, the words for a screen reader,
 * a longer search) follows when the state has rested.
 */
"use strict";

const Explorer = (() => {
  const { percent } = Words;
  const { clamp, lamAtPlace, placeOfLam, text } = Drawing;
  const { LIMITS, MOST_LINKED, accepted, variancesIn } = Address;
  const REST = 250; // milliseconds
  const NAMES = { lam: "λ", T: "T", s: "s", m: "m" };

  const $ = (id) => document.getElementById(`x-${id}`);
  const root = $("explorer");
  const { colors, labels, spectra } = JSON.parse($("json").textContent);
  const names = Object.keys(spectra);

  let state = Address.initial(names);
  let frame = 0;
  let resting = 0;
  let shown; // what the last update has computed
  let pasting = false; // the reader's own numbers are asked for
  let touched = false; // the state is no longer that of the address

  // ---- one variance

  const curves = new Map(); // T -> [s, λ_up, λ_down], from small s to large

  /** A few milliseconds' worth of the borders within the mixed phase; true if some are missing. */
  function trace(T) {
    if (!curves.has(T)) curves.set(T, []);
    const known = curves.get(T);
    const until = performance.now() + 4;
    while (known.length < 41 && performance.now() < until) {
      const s = 10 ** (-2 + (3 * known.length) / 40);
      known.push([s, ...Planning.crossings(T, s)]);
    }
    return known.length < 41;
  }

  function compute(cap) {
    const { lam, T, s } = state;
    const schedule = Linear.cosine(T);
    const given = Linear.problem(schedule, lam, s);
    const best = Planning.optimalPlan(given, cap);
    const plans = Linear.STRATEGIES.map((name) => [name, Linear.canonicalPlan(name, T)]);
    const strategies = plans.map(([name, plan]) => {
      return [name, labels[name], Linear.evaluate(plan, given)];
    });
    const same = plans.find(([, plan]) => Linear.samePlan(plan, best.plan))?.[0];
    return { schedule, given, best, strategies, same, boundaries: Linear.phaseBoundaries(T) };
  }

  function drawOne() {
    const { lam, T, s } = state;
    const { given, best, strategies, boundaries, same } = shown;
    const { target } = given;
    const rows = [...strategies, ["best", "best of all plans", best.operator]];
    const signed = rows.map(([name, label, operator]) => [name, label, operator - target]);
    draw.phases({ lam, s, boundaries, curves: curves.get(T) ?? [] });
    draw.plan({ plan: best.plan, name: same, T });
    draw.errors(signed.map(([name, label, error]) => [name, label, Math.abs(error)]));
    draw.range({ low: best.bounds[0] - target, high: best.bounds[1] - target, rows: signed });
    draw.ellipse(shown);
    $("plan-title").textContent = `The best plan: ${Words.planName(shown, labels)}`;
  }

  // ---- a spectrum

  function computeSpectrum() {
    const { T, s, data, own } = state;
    const lams = data === "own" ? own : spectra[data];
    const total = Math.sqrt(lams.reduce((a, b) => a + b, 0)) || 1;
    const found = Linear.spectrumErrors(T, lams, s);
    const losses = found.jumps.map((error) => error / total);
    const strategies = Object.fromEntries(
      Object.entries(found.strategies).map(([name, error]) => [name, error / total]),
    );
    const best = losses.indexOf(Math.min(...losses));
    const m = Math.min(state.m ?? best, T - 2);
    return { lams, losses, strategies, best, m, boundaries: Linear.phaseBoundaries(T) };
  }

  function drawSpectrum() {
    const { T } = state;
    const { losses, strategies, m, best } = shown;
    const rows = [
      ...Linear.STRATEGIES.map((name) => [name, labels[name], strategies[name]]),
      ["best", `jump to m = ${m}, then BOOT`, losses[m]],
    ];
    draw.spectrum(shown);
    draw.jumps({ ...shown, labels });
    draw.losses(rows.map(([name, label, loss]) => [name, label, loss, percent(loss)]));
    draw.jump({
      plan: Linear.jumpThenBoot(m, T),
      name: m === 0 ? "vanilla" : m === T - 2 ? "sequential_boot" : "best",
      T,
    });
    $("jump-title").textContent =
      `The plan that jumps to m = ${m}${m === best ? ", the best" : ""}`;
  }

  // ---- updating

  const draw = {
    phases: Panels.phases($("phases"), (lam, s) =>
      change({ lam: rounded(lam, 4), s: rounded(s, 3) }),
    ),
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
    touched = true;
    frame ||= requestAnimationFrame(update);
    clearTimeout(resting);
    resting = setTimeout(settle, REST);
  }

  const words = () =>
    state.view === "one" ? Words.one(state, shown, labels) : Words.spectrum(state, shown);

  function update() {
    const one = state.view === "one";
    frame = 0;
    for (const part of root.querySelectorAll("[data-view]"))
      part.hidden = part.dataset.view !== state.view;
    const more = one && trace(state.T);
    shown = one ? compute(4) : computeSpectrum();
    showControls();
    if (one) drawOne();
    else drawSpectrum();
    $("summary").textContent = words();
    if (root.querySelector("details").open) showTable();
    if (more) frame ||= requestAnimationFrame(update);
  }

  /** Controls follow the state, except one that is being typed in. */
  function showControls() {
    const { view, lam, T, s, data } = state;
    const m = shown.m ?? 0;
    const place = {
      lam: Math.round(1000 * placeOfLam(lam)),
      T,
      s: Math.round(100 * (Math.log10(s) + 2)),
      m,
    };
    root.querySelector(`[name=view][value=${view}]`).checked = true;
    $("m").max = T - 2;
    for (const [name, value] of Object.entries({ lam, T, s, m })) {
      const range = $(name);
      const exact = $(`${name}-exact`);
      range.value = name === "m" ? value : place[name];
      range.setAttribute("aria-valuetext", `${NAMES[name]} = ${text(value)}`);
      if (document.activeElement !== exact) exact.value = String(value);
    }
    $("data").value = pasting ? "own" : data;
    $("paste").hidden = !pasting;
  }

  function settle() {
    if (frame) return void (resting = setTimeout(settle, REST));
    const one = state.view === "one";
    // Time for a longer search.
    if (one && shown.best.proof === null) {
      shown = compute(state.T > 32 ? 8 : 16);
      drawOne();
      $("summary").textContent = words();
    }
    $("spoken").textContent = words();
    for (const svg of root.querySelectorAll("svg[role=img]")) {
      const title = svg.closest("figure").querySelector("figcaption").textContent;
      svg.setAttribute("aria-label", `${title}. ${words()}`);
    }
    showTable();
    if (!touched) return;
    try {
      history.replaceState(null, "", `#${Address.written(state)}`);
    } catch {
      // a browser that keeps pages from files from doing so; the link can still be copied
    }
  }

  /** Rows and cells are kept from frame to frame. */
  function fillTable(part, rows) {
    while (part.rows.length > rows.length) part.deleteRow(-1);
    rows.forEach((row, k) => {
      const tr = part.rows[k] ?? part.insertRow();
      while (tr.cells.length > row.length) tr.deleteCell(-1);
      row.forEach((value, column) => {
        const cell = tr.cells[column] ?? tr.appendChild(newCell(part.tagName === "THEAD", column));
        if (cell.textContent !== value) cell.textContent = value;
      });
    });
  }

  function newCell(inHead, column) {
    const cell = document.createElement(inHead || column === 0 ? "th" : "td");
    if (cell.tagName === "TH") cell.scope = inHead ? "col" : "row";
    return cell;
  }

  function showTable() {
    const one = state.view === "one";
    const rows = one ? Words.tableOfOne(shown) : Words.tableOfSpectrum(shown, labels);
    const { tHead, tBodies } = $("table");
    fillTable(tHead, rows.slice(0, 1));
    fillTable(tBodies[0], rows.slice(1));
    const plan = one ? shown.best.plan : Linear.jumpThenBoot(shown.m, state.T);
    $("merges").textContent = Words.merges(plan);
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
      $(name).addEventListener("input", ({ target }) => {
        forgive();
        change({ [name]: clamp(value(Number(target.value)), ...LIMITS[name]) });
      });
      $(`${name}-exact`).addEventListener("change", ({ target }) => readExact(name, target));
    }
    for (const form of root.querySelectorAll("form"))
      form.addEventListener("submit", (event) => event.preventDefault());
    for (const radio of root.querySelectorAll("[name=view]"))
      radio.addEventListener("change", () => change({ view: radio.value }));
    $("data").addEventListener("change", ({ target }) => {
      pasting = target.value === "own";
      if (pasting) readOwn();
      else change({ data: target.value, m: null });
    });
    $("own").addEventListener("input", readOwn);
    root.querySelector("details").addEventListener("toggle", () => shown && showTable());
    $("copy").addEventListener("click", copyLink);
    $("reset").addEventListener("click", () => {
      $("own").value = $("own-fault").textContent = "";
      forgive();
      pasting = false;
      change({ ...Address.initial(names), view: state.view });
    });
    window.addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return; // a heading
      restore();
      root.scrollIntoView();
    });
  }

  function readExact(name, field) {
    forgive();
    const number = accepted(name, field.value.replace(",", "."));
    const [low, high] = name === "m" ? [0, state.T - 2] : LIMITS[name];
    const fits = number !== null && number <= high;
    const kind = name === "T" || name === "m" ? "a whole number" : "a number";
    const given = `${NAMES[name]} = ${field.value.slice(0, 20)}`;
    $("fault").textContent = fits ? "" : `${given}: give ${kind} from ${low} to ${high}.`;
    field.setAttribute("aria-invalid", String(!fits));
    if (fits) change({ [name]: number });
  }

  /** The last spectrum stays while what is typed is none. */
  function readOwn() {
    const { lams, fault } = variancesIn($("own").value);
    const untouched = $("own").value.trim() === "";
    $("own-fault").textContent = untouched ? "" : (fault ?? "");
    change(lams ? { data: "own", own: lams, m: null } : {});
  }

  /** Forgets a number that was refused: its field shows the state again. */
  function forgive() {
    $("fault").textContent = "";
    for (const name of Object.keys(NAMES)) $(`${name}-exact`).removeAttribute("aria-invalid");
  }

  function restore() {
    forgive();
    $("own-fault").textContent = "";
    state = Address.parsed(location.hash.slice(1), names);
    pasting = state.data === "own";
    if (pasting) $("own").value = state.own.join(", ");
    change({});
    touched = false;
  }

  async function copyLink() {
    const link = `${location.href.split("#")[0]}#${Address.written(state)}`;
    const field = $("link");
    const left =
      state.view === "spectrum" && state.data === "own" && state.own.length > MOST_LINKED;
    try {
      await navigator.clipboard.writeText(link);
      field.hidden = true;
      $("told").textContent = left
        ? `Copied, without your numbers: a link holds ${MOST_LINKED}.`
        : "Link copied.";
    } catch {
      field.hidden = false;
      field.value = link;
      field.select();
      $("told").textContent = "Copy it from here:";
    }
  }

  for (const [name, color] of Object.entries(colors)) root.style.setProperty(`--${name}`, color);
  $("data").append(
    ...[...names, "own"].map(
      (name) => new Option(name === "own" ? "your own numbers" : name, name),
    ),
  );
  root.querySelector("details").open = matchMedia("(min-width: 1000px)").matches;
  listen();
  restore();
  cancelAnimationFrame(frame);
  update();
  performance.mark("explorer-drawn");

  return {
    get state() {
      return state;
    },
    get shown() {
      return shown;
    },
  };
})();
