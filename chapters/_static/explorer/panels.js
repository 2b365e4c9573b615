/**
 * The explorer's pictures. Each function takes an empty <svg>, draws what stays, and returns a
 * function that draws what depends on the state; a drag calls these for every frame.
 *
 * All are 360 units wide. Colours are CSS variables, named as in `tdmlib/plots/style.py`.
 */
"use strict";

const Panels = (() => {
  const { LEFT, RIGHT, clamp, scale, placeOfLam, lamAtPlace, text, power, range } = Drawing;
  const { set, add, fill, move, line, ink, dots, title, axes, bottomAxis, draggable } = Drawing;
  const SHAPES = {
    // as in plots.losses
    vanilla: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    progressive: "M-4.5-4.5h9v9h-9z",
    sequential_consistency: "M0-6.4 6.4 0 0 6.4-6.4 0z",
    sequential_boot: "M-5.6-4.4h11.2L0 5.8z",
    best: "M0-7.5 1.8-2.3 7.2-2.3 2.8 1 4.4 6.2 0 3-4.4 6.2-2.8 1-7.2-2.3-1.8-2.3z",
  };

  /** Fig. 1: v_t on its ellipse, and the state of a teacher that steps from z_T to z_0. */
  function ellipse(svg) {
    const ground = 185;
    const origin = 40;
    const rays = add(svg, "path", { class: "faint" });
    const arc = add(svg, "path", { class: "muted" });
    const drops = add(svg, "path", { class: "muted dashed" });
    const teacher = add(svg, "path", { class: "stroke", style: ink("teacher") });
    const states = add(svg, "path", { style: ink("teacher") });
    add(svg, "path", { class: "axis", d: `M${origin} 6V${ground}H${RIGHT}` });
    title(svg, "signal α√λ", (origin + RIGHT) / 2, ground + 33);
    title(svg, "noise σ", 12, ground / 2, true);
    const labels = add(svg, "g", { class: "tick" });
    const note = add(svg, "text", { class: "note", x: RIGHT, y: 16 });
    return ({ given, schedule }) => {
      const { T, steps, lam, target } = given;
      const root = Math.sqrt(lam);
      const unit = Math.min((RIGHT - origin - 14) / Math.max(root, 1), 160);
      const at = ([x, y]) => [origin + x * unit, ground - y * unit];
      const v = range(0, T).map((t) => [schedule.alpha[t] * root, schedule.sigma[t]]);
      const curve = range(0, 48).map((k) => {
        const angle = (k / 96) * Math.PI;
        return at([root * Math.cos(angle), Math.sin(angle)]);
      });
      let deviation = Math.hypot(...v[T]);
      const path = [v[T]];
      for (let t = T; t > 0; t--) {
        // A_t times the state, drawn in the direction of v_{t−1}
        deviation *= steps[t - 1];
        const length = Math.hypot(...v[t - 1]) || 1;
        path.push(v[t - 1].map((x) => (x / length) * deviation));
      }
      const points = path.map(at);
      set(rays, { d: v.map((p) => `M${origin} ${ground}L${at(p).join(" ")}`).join("") });
      set(arc, { d: line(curve) });
      set(drops, {
        d:
          T > 16
            ? ""
            : range(1, T)
                .map((t) => line([at(v[t - 1]), at(v[t].map((x) => x * steps[t - 1]))]))
                .join(""),
      });
      set(teacher, { d: line(points) });
      set(states, { d: dots(points, 2.2) });
      const [end] = at([root, 0]);
      const [, top] = at([0, 1]);
      fill(labels, "text", [
        { x: end.toFixed(2), y: ground + 14, text: `√λ = ${text(root, 3)}` },
        { x: origin - 8, y: (top + 4).toFixed(2), text: "1" },
      ]);
      set(note, {
        text: `the teacher keeps ${text((100 * target * target) / lam, 3)}% of the variance`,
      });
    };
  }

  function arch(from, to, height, ground) {
    const half = ((to - from) / 2).toFixed(2);
    const end = `${to.toFixed(2)} ${ground}`;
    return `M${from.toFixed(2)} ${ground}A${half} ${height.toFixed(2)} 0 0 1 ${end}`;
  }

  /** A merge plan as arcs over the levels, noise at the right; darker after a longer chain. */
  function arcs(svg) {
    const ground = 158;
    const x = (T) => scale(0, T, 16, 344);
    const curves = add(svg, "g", { class: "stroke thin" });
    const levels = add(svg, "path", { class: "axis" });
    const labels = add(svg, "g", { class: "tick" });
    title(svg, "level t (0 clean, T noise)", 180, ground + 32);
    return ({ plan, name, T }) => {
      const at = x(T);
      const found = Linear.merges(plan);
      const up = 145 / T;
      const tallest = Math.max(...found.map(({ height }) => height));
      set(curves, { style: name ? ink(name) : "" });
      fill(
        curves,
        "path",
        found.map(({ i, j, height }) => ({
          d: arch(at(i), at(j), (j - i) * up, ground),
          "stroke-opacity": (0.25 + (0.75 * height) / tallest).toFixed(3),
        })),
      );
      set(levels, {
        d: range(0, T)
          .map((t) => `M${at(t).toFixed(2)} ${ground - 3}v6`)
          .join(""),
      });
      const shown = T > 4 ? [0, Math.round(T / 2), T] : range(0, T);
      fill(
        labels,
        "text",
        shown.map((t) => ({ x: at(t).toFixed(2), y: ground + 17, text: String(t) })),
      );
    };
  }

  /** Rows of [name, label, error, text] on a logarithmic axis that begins at 10^`first`. */
  function errors(svg, words, first) {
    const least = 10 ** first;
    const most = 10;
    const at = scale(least, most, LEFT, RIGHT, Math.log10);
    const bottom = 176;
    const every = Math.ceil(-first / 5);
    bottomAxis(
      svg,
      bottom,
      words,
    )(range(first, 1).map((k) => [at(10 ** k), k % every ? "" : power(k)]));
    const bars = add(svg, "g", { class: "stroke" });
    const marks = add(svg, "g");
    const names = add(svg, "g", { class: "name" });
    const values = add(svg, "g", { class: "value" });
    return (rows) => {
      const y = (k) => 26 + 33 * k;
      const end = rows.map(([, , error]) => at(clamp(error, least, most)));
      fill(
        bars,
        "path",
        rows.map(([name], k) => ({ style: ink(name), d: `M${LEFT} ${y(k)}H${end[k].toFixed(2)}` })),
      );
      fill(
        marks,
        "path",
        rows.map(([name], k) => ({
          style: ink(name),
          d: SHAPES[name],
          transform: move(end[k], y(k)),
        })),
      );
      fill(
        names,
        "text",
        rows.map(([, label], k) => ({ x: LEFT, y: y(k) - 10, text: label })),
      );
      fill(
        values,
        "text",
        rows.map(([, , error, shown], k) => ({
          x: RIGHT,
          y: y(k) - 10,
          text: shown ?? text(error, 3),
        })),
      );
    };
  }

  /** The range of all plans' signed errors, the strategies within, the teacher at zero. */
  function spread(svg) {
    const bottom = 176;
    const centre = 180;
    const band = add(svg, "rect", { class: "band", y: 12, height: bottom - 12, rx: 3 });
    const axis = bottomAxis(svg, bottom, "signed error S − P (logarithmic to both sides)");
    add(svg, "path", { class: "stroke", style: ink("teacher"), d: `M${centre} 12V${bottom}` });
    add(svg, "text", { class: "tick", x: centre, y: 9, text: "teacher" });
    const names = add(svg, "g", { class: "faded" });
    const marks = add(svg, "g");
    return ({ low, high, rows }) => {
      const most = Math.max(Math.abs(low), Math.abs(high), 1e-15);
      const fine = most * 1e-3; // linear within
      const shrink = (e) => (Math.sign(e) * Math.log10(1 + Math.abs(e) / fine)) / Math.log10(1001);
      const at = (e) => centre + 164 * shrink(e);
      const left = at(low);
      const width = Math.max(at(high) - left, 1.5);
      const y = (k) => 28 + 31 * k;
      set(band, { x: left.toFixed(2), width: width.toFixed(2) });
      set(names, { "text-anchor": -low > high ? "end" : "start" });
      fill(
        names,
        "text",
        rows.map(([, label], k) => ({ x: -low > high ? RIGHT : LEFT, y: y(k) + 4, text: label })),
      );
      fill(
        marks,
        "path",
        rows.map(([name, , error], k) => ({
          style: ink(name),
          d: SHAPES[name],
          transform: move(at(error), y(k)),
        })),
      );
      const top = Math.floor(Math.log10(most));
      const decades = range(top - 1, top);
      axis([
        [centre, "0"],
        ...decades.flatMap((k) => [
          [at(-(10 ** k)), `−${power(k)}`],
          [at(10 ** k), power(k)],
        ]),
      ]);
    };
  }

  /** The plane of λ and s at one T; `on(λ, s)` when it is dragged. */
  function phases(svg, on) {
    const x0 = 40;
    const x1 = 350;
    const y0 = 22;
    const y1 = 196;
    const x = (lam) => x0 + (x1 - x0) * placeOfLam(lam);
    const y = scale(0.01, 10, y1, y0, Math.log);
    const area = (name, kind) => add(svg, "path", { class: kind, style: ink(name) });
    const boot = area("sequential_boot", "sure");
    const up = area("sequential_boot", "pale");
    const inside = area("muted", "mixed");
    const down = area("vanilla", "pale");
    const van = area("vanilla", "sure");
    const borders = add(svg, "path", { class: "muted dashed" });
    const names = add(svg, "g", { class: "tick" });
    const below = "variance λ (log scale, stretched about 1.2)";
    axes(svg, { x0, y0, x1, y1, drop: 33 }, below, "training time s");
    const ticks = add(svg, "g", { class: "tick" });
    const labelled = [0.01, 0.1, 0.5, 1, 1.2, 1.5, 2, 5, 100];
    const others = [0.03, 0.2, 0.8, 1.1, 1.3, 1.4, 3, 10, 30];
    fill(ticks, "text", [
      ...labelled.map((lam) => ({ x: x(lam).toFixed(2), y: y1 + 17, text: String(lam) })),
      ...[0.01, 0.1, 1, 10].map((s) => ({
        x: 34,
        y: (y(s) + 4).toFixed(2),
        class: "end",
        text: String(s),
      })),
    ]);
    add(svg, "path", {
      class: "axis",
      d: [...labelled, ...others]
        .map((lam, k) => `M${x(lam).toFixed(2)} ${y1}v${k < labelled.length ? 5 : 3}`)
        .join(""),
    });
    const cross = add(svg, "path", { class: "muted" });
    const place = draggable(svg, (px, py) => {
      const s = Math.exp(scale(y1, y0, Math.log(0.01), Math.log(10))(clamp(py, y0, y1)));
      on(lamAtPlace(clamp((px - x0) / (x1 - x0), 0, 1)), s);
    });
    /** `curves` holds [s, λ_up, λ_down], as far as they are known. */
    return ({ lam, s, boundaries, curves }) => {
      const [a, b] = boundaries.map(x);
      const box = (from, to) => `M${from} ${y0}H${to}V${y1}H${from}z`;
      set(boot, { d: box(x0, a) });
      set(van, { d: box(b, x1) });
      const ups = curves.map(([s, at]) => [x(at), y(s)]);
      const downs = curves.map(([s, , at]) => [x(at), y(s)]).reverse();
      const enough = curves.length > 1;
      set(up, { d: enough ? line([[a, ups[0][1]], ...ups, [a, ups.at(-1)[1]]]) : "" });
      set(inside, { d: enough ? line([...ups, ...downs]) : "" });
      set(down, { d: enough ? line([[b, downs[0][1]], ...downs, [b, downs.at(-1)[1]]]) : "" });
      set(borders, { d: `M${a} ${y0}V${y1}M${b} ${y0}V${y1}` });
      fill(
        names,
        "text",
        [
          {
            x: (a + 14).toFixed(2),
            y: 14,
            class: "end",
            text: `BOOT up to ${text(boundaries[0])}`,
          },
          {
            x: (b - 14).toFixed(2),
            y: 14,
            class: "start",
            text: `vanilla from ${text(boundaries[1])}`,
          },
        ].slice(0, b - a < 40 ? 1 : 2),
      );
      const [px, py] = [x(lam), y(clamp(s, 0.01, 10))];
      set(cross, { d: `M${px} ${y0}V${y1}M${x0} ${py}H${x1}` });
      place(px, py);
    };
  }

  /** Variances over their rank, on bands of the phases. */
  function spectrum(svg) {
    const x0 = 40;
    const y0 = 10;
    const y1 = 186;
    const bands = add(svg, "g");
    axes(svg, { x0, y0, y1 }, "principal axis, by rank (log scale)", "variance λ");
    const points = add(svg, "path", { style: ink("data") });
    const ticks = add(svg, "g", { class: "tick" });
    const names = add(svg, "g", { class: "faded" });
    return ({ lams, boundaries }) => {
      const shown = lams.filter((lam) => lam > 0);
      const least = Math.max(shown.at(-1) ?? 1, 1e-9);
      const bottom = Math.floor(Math.log10(Math.min(least, 0.5)));
      const top = Math.ceil(Math.log10(Math.max(lams[0], 5)));
      const x = scale(1, Math.max(lams.length, 2), x0 + 8, RIGHT - 8, Math.log);
      const y = scale(10 ** bottom, 10 ** top, y1, y0, Math.log10);
      const [boot, van] = boundaries.map(y);
      fill(bands, "path", [
        { class: "sure", style: ink("sequential_boot"), d: `M${x0} ${boot}H${RIGHT}V${y1}H${x0}z` },
        { class: "sure", style: ink("vanilla"), d: `M${x0} ${y0}H${RIGHT}V${van}H${x0}z` },
      ]);
      const places = shown.map((lam, k) => [x(k + 1), y(Math.max(lam, 1e-9))]);
      set(points, { d: dots(places, 2.5) });
      const every = Math.ceil((top - bottom) / 5);
      const ranks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
      fill(ticks, "text", [
        ...range(bottom, top)
          .filter((k) => k % every === 0)
          .map((k) => ({ class: "end", x: 35, y: (y(10 ** k) + 4).toFixed(2), text: power(k) })),
        ...ranks
          .filter((k) => k <= lams.length)
          .map((k) => ({ class: "", x: x(k).toFixed(2), y: y1 + 16, text: String(k) })),
      ]);
      fill(names, "text", [
        { x: RIGHT - 6, y: (van - 6).toFixed(2), "text-anchor": "end", text: "vanilla" },
        { x: x0 + 6, y: y1 - 7, "text-anchor": "start", text: "sequential BOOT" },
      ]);
    };
  }

  /** The loss of one jump, then BOOT over the level m where it lands; `on(m)` when dragged. */
  function jumps(svg, on) {
    const x0 = 58;
    const y0 = 12;
    const y1 = 186;
    let last = 0; // the largest m
    const others = add(svg, "g", { class: "dashed" });
    const names = add(svg, "g", { class: "faded" });
    axes(svg, { x0, y0, y1 }, "level m where the jump lands", "loss (log scale)");
    const ticks = add(svg, "g", { class: "tick" });
    const curve = add(svg, "path", { class: "stroke", style: ink("data") });
    const ends = add(svg, "g");
    const cross = add(svg, "path", { class: "muted" });
    const place = draggable(svg, (px) =>
      on(Math.round(clamp(scale(x0 + 8, RIGHT - 8, 0, last)(px), 0, last))),
    );
    return ({ losses, m, best, strategies, labels }) => {
      last = losses.length - 1;
      const all = [...losses, strategies.progressive, strategies.sequential_consistency].map(
        (value) => Math.max(value, 1e-15),
      );
      const low = Math.min(...all) / 1.3;
      const high = Math.max(...all) * 1.3;
      const x = scale(0, Math.max(last, 1), x0 + 8, RIGHT - 8);
      const y = scale(low, high, y1, y0 + 14, Math.log); // room for a name above
      const at = (k) => [x(k), y(Math.max(losses[k], 1e-15))];
      const flat = ["progressive", "sequential_consistency"];
      const height = flat.map((name) => y(Math.max(strategies[name], 1e-15)));
      fill(
        others,
        "path",
        flat.map((name, k) => ({
          class: "stroke",
          style: ink(name),
          d: `M${x0} ${height[k]}H${RIGHT}`,
        })),
      );
      fill(
        names,
        "text",
        flat.map((name, k) => ({
          x: RIGHT - 4,
          y: (height[k] + (height[k] > height[1 - k] ? 13 : -5)).toFixed(2), // not between the two
          "text-anchor": "end",
          text: labels[name],
        })),
      );
      set(curve, { d: line(range(0, last).map(at)) });
      fill(
        ends,
        "path",
        [
          ["vanilla", 0],
          ["sequential_boot", last],
          ["best", best],
        ].map(([name, k]) => ({ style: ink(name), d: SHAPES[name], transform: move(...at(k)) })),
      );
      set(cross, { d: `M${x(m)} ${y0}V${y1}` });
      place(...at(m));
      let decades = range(Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))).map(
        (k) => 10 ** k,
      );
      if (decades.length < 2) decades = [low * 1.3, Math.sqrt(low * high), high / 1.3];
      const every = Math.ceil(decades.length / 6);
      const step = Math.max(1, Math.ceil(last / 8));
      fill(ticks, "text", [
        ...decades
          .filter((_, k) => k % every === 0)
          .map((value) => ({
            class: "end",
            x: x0 - 5,
            y: (y(value) + 4).toFixed(2),
            text: `${text(100 * value, 2)}%`,
          })),
        ...range(0, Math.floor(last / step)).map((k) => ({
          class: "",
          x: x(k * step).toFixed(2),
          y: y1 + 16,
          text: String(k * step),
        })),
      ]);
    };
  }

  return { ellipse, arcs, errors, spread, phases, spectrum, jumps };
})();
