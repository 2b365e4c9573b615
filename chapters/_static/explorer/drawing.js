/** What the explorer's pictures share: scales, numbers as text, SVG elements, dragging. */
"use strict";

const Drawing = (() => {
  const LEFT = 10;
  const RIGHT = 350;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** A scale from [a, b] to [from, to], for values that `map` has made linear. */
  function scale(a, b, from, to, map = (x) => x) {
    const low = map(a);
    const slope = (to - from) / (map(b) - low);
    return (x) => from + (map(x) - low) * slope;
  }

  /** λ from 0.01 to 100 as a place from 0 to 1: logarithmic, stretched where phases meet. */
  const stretch = (lam) => Math.asinh(Math.log(lam / 1.2) / 0.12);
  const places = [stretch(0.01), stretch(100)];
  const placeOfLam = scale(0.01, 100, 0, 1, stretch);
  const lamAtPlace = (place) =>
    1.2 * Math.exp(0.12 * Math.sinh(places[0] + place * (places[1] - places[0])));

  /** A number as text: `digits` of them, with a true minus sign. */
  function text(value, digits = 4) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    const plain = size >= 1e-3 && size < 1e5;
    const short = plain
      ? String(Number(value.toPrecision(digits)))
      : value.toExponential(digits - 1).replace("e+", "e");
    return short.replaceAll("-", "−");
  }

  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  function power(k) {
    if (k >= -2 && k <= 2) return String(Number(`1e${k}`));
    return "10" + String(k).replace(/./g, (c) => (c === "-" ? "⁻" : SUPERSCRIPTS[c]));
  }

  const range = (from, to) =>
    Array.from({ length: Math.max(to - from + 1, 0) }, (_, k) => from + k);

  /** Sets what is new: to write what is there already would have it styled and painted again. */
  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") {
        if (element.textContent !== value) element.textContent = value;
      } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
    }
    return element;
  }

  function add(parent, tag, attributes = {}) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    parent.append(element);
    return set(element, attributes);
  }

  /** One child a row of `items`, which are attributes; children are kept from frame to frame. */
  function fill(group, tag, items) {
    while (group.childElementCount > items.length) group.lastChild.remove();
    items.forEach((item, k) => set(group.children[k] ?? add(group, tag), item));
  }

  const move = (x, y) => `translate(${x.toFixed(2)} ${y.toFixed(2)})`;
  const line = (points) =>
    points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
  const ink = (name) => `color: var(--${name})`;

  /** A path of dots of radius r. */
  function dots(points, r) {
    const around = `a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0-${2 * r} 0`;
    return points.map(([x, y]) => `M${(x - r).toFixed(2)} ${y.toFixed(2)}${around}`).join("");
  }

  /** The title of an axis, centred at (x, y); of one at the left it reads upwards. */
  function title(svg, words, x, y, upwards = false) {
    const place = upwards ? { transform: `translate(${x} ${y}) rotate(-90)` } : { x, y };
    add(svg, "text", { class: "title", ...place, text: words });
  }

  /** The axes at the left of the box (x0, y0) – (x1, y1) and below it, and their titles. */
  function axes(svg, { x0, y0, x1 = RIGHT, y1, drop = 31 }, below, beside) {
    add(svg, "path", { class: "axis", d: `M${x0} ${y0}V${y1}H${x1}` });
    title(svg, below, (x0 + x1) / 2, y1 + drop);
    title(svg, beside, 10, (y0 + y1) / 2, true);
  }

  /** An axis along the bottom at height y: labels and the marks above them. */
  function bottomAxis(svg, y, words) {
    add(svg, "path", { class: "axis", d: `M${LEFT} ${y}H${RIGHT}` });
    const marks = add(svg, "path", { class: "axis" });
    const labels = add(svg, "g", { class: "tick" });
    title(svg, words, (LEFT + RIGHT) / 2, y + 31);
    return (ticks) => {
      set(marks, { d: ticks.map(([x]) => `M${x.toFixed(2)} ${y}v4`).join("") });
      const named = ticks.filter(([, label]) => label !== "");
      fill(
        labels,
        "text",
        named.map(([x, label]) => ({ x: x.toFixed(2), y: y + 16, text: label })),
      );
    };
  }

  /**
   * A marker that calls `on(x, y)`, in units of the picture, while a button or a finger is down on
   * it; returns what moves it.
   */
  function draggable(svg, on) {
    const marker = add(svg, "circle", { class: "marker", r: 8.5 });
    const handle = add(svg, "circle", { class: "handle", r: 24 });
    const report = (event) => {
      const box = svg.getBoundingClientRect();
      const unit = svg.viewBox.baseVal.width / box.width;
      on((event.clientX - box.left) * unit, (event.clientY - box.top) * unit);
      event.preventDefault();
    };
    svg.addEventListener("pointerdown", (event) => {
      // A finger that is not on the handle may want to scroll; it sets the place by a tap.
      if (event.pointerType === "touch" && event.target !== handle) return;
      svg.setPointerCapture(event.pointerId);
      report(event);
    });
    svg.addEventListener(
      "pointermove",
      (event) => svg.hasPointerCapture(event.pointerId) && report(event),
    );
    svg.addEventListener("click", report);
    return (x, y) => {
      for (const circle of [marker, handle]) set(circle, { cx: x.toFixed(2), cy: y.toFixed(2) });
    };
  }

  return {
    LEFT,
    RIGHT,
    clamp,
    scale,
    placeOfLam,
    lamAtPlace,
    text,
    power,
    range,
    set,
    add,
    fill,
    move,
    line,
    ink,
    dots,
    title,
    axes,
    bottomAxis,
    draggable,
  };
})();
