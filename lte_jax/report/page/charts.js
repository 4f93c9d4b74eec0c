// Curves: one small chart per panel, arms in colour, seeds as a mean line in a band or one by one. Draws with uPlot.
"use strict";

(() => {
  const { arms, runs, sections } = dataOf("curves-data");
  const DASHES = [[], [6, 4], [2, 3]];
  const N_COLOURS = 7;
  const MOST_UNSMOOTHED = 60; // steps up to which curves are drawn as they are
  const hidden = new Set(); // places in `runs`
  const choice = Object.fromEntries(["lines", "over", "smooth"].map((id) => [id, document.getElementById(id)]));
  const panels = [];
  let isPainted = false;

  const colourOf = (arm) => css(`--arm-${arm % N_COLOURS}`);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const greatest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

  // ---- values

  /** Moving mean over `width` neighbours; steps without a value stay without one. */
  function smoothed(values, width) {
    const half = Math.floor(width / 2);
    if (!half) return values;
    return values.map((own, i) => {
      if (own === null) return null;
      const near = values.slice(Math.max(0, i - half), i + half + 1).filter((value) => value !== null);
      return near.reduce((a, b) => a + b, 0) / near.length;
    });
  }

  /** What the horizontal axis counts: its label, and what a stored value is divided by. */
  function axis() {
    const over = choice.over.value;
    if (over === "step") return { over, label: "steps", by: 1 };
    const longest = greatest(runs.flatMap((run) => run.train[over]));
    const units =
      over === "tokens"
        ? [[1e9, "billion tokens drawn"], [1e6, "million tokens drawn"], [1e3, "thousand tokens drawn"], [1, "tokens drawn"]]
        : [[86400, "days of training"], [3600, "hours of training"], [60, "minutes of training"], [1, "seconds of training"]];
    const [by, label] = units.find(([size]) => longest >= 2 * size) || units[units.length - 1];
    return { over, label, by };
  }

  /** A run's curve of a metric: [step, x, y] at each of its points. */
  function curve(run, panel, key) {
    const table = run[panel.table];
    const values = table.values[key];
    if (!values) return null;
    const width = panel.table === "train" ? Math.ceil(Number(choice.smooth.value) / table.block) : 1;
    const { over, by } = axis();
    return smoothed(values, width).map((y, i) => [table.step[i], table[over][i] / by, y]);
  }

  /** Mean, lowest and highest over curves, at the steps that every one of them has reached. */
  function pooled(curves) {
    const end = Math.min(...curves.map((points) => points[points.length - 1][0]));
    const at = new Map();
    for (const [step, x, y] of curves.flat()) {
      if (step > end) continue;
      if (!at.has(step)) at.set(step, { xs: [], ys: [] });
      at.get(step).xs.push(x);
      if (y !== null) at.get(step).ys.push(y);
    }
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const steps = [...at.keys()].sort((a, b) => a - b);
    const column = (of) => steps.map((step) => (at.get(step).ys.length ? of(at.get(step).ys) : null));
    return { xs: steps.map((step) => mean(at.get(step).xs)), mean: column(mean), low: column(least), high: column(greatest) };
  }

  /** The lines of a panel: {arm, name, dash, xs, ys} and, with several seeds, {low, high}. */
  function linesOf(panel) {
    const lines = [];
    arms.forEach((arm, place) => {
      const members = runs.filter((run, i) => run.arm === place && !hidden.has(i));
      panel.lines.forEach(([key, label], dash) => {
        const found = members.map((run) => [run, curve(run, panel, key)]).filter(([, points]) => points && points.length);
        if (!found.length) return;
        const suffix = label ? `, ${label}` : "";
        if (choice.lines.value === "mean" && found.length > 1) {
          const { xs, mean, low, high } = pooled(found.map(([, points]) => points));
          lines.push({ arm: place, name: arm + suffix, dash, xs, ys: mean, low, high });
        } else {
          for (const [run, points] of found) {
            const name = (found.length > 1 || choice.lines.value === "each" ? run.name : arm) + suffix;
            lines.push({ arm: place, name, dash, xs: points.map((p) => p[1]), ys: points.map((p) => p[2]) });
          }
        }
      });
    });
    return lines;
  }

  // ---- drawing

  const shortNumber = (value) =>
    Math.abs(value) >= 1e6 ? `${+(value / 1e6).toPrecision(4)}M`
    : Math.abs(value) >= 1e4 ? `${+(value / 1e3).toPrecision(4)}k`
    : `${+value.toPrecision(4)}`;

  /** [lowest, highest] of the axis: a share stays between 0 and 1, everything has some air. */
  function range(panel, low, high) {
    if (low === null) return [0, 1];
    const isShare = panel.unit.startsWith("share");
    const air = 0.06 * (high - low) || 0.1 * Math.abs(high) || 0.1;
    return isShare ? [Math.max(0, low - air), Math.min(1.01, high + air)] : [low >= 0 ? Math.max(0, low - air) : low - air, high + air];
  }

  function draw(panel) {
    panel.chart?.destroy();
    const lines = linesOf(panel);
    const tables = [], series = [{}], bands = [];
    for (const line of lines) {
      const stroke = colourOf(line.arm);
      tables.push([line.xs, line.ys, ...(line.low ? [line.high, line.low] : [])]);
      const isSparse = line.xs.length < 30;
      series.push({ stroke, width: 1.8, dash: DASHES[line.dash], spanGaps: true, points: { show: isSparse, size: 5, fill: stroke } });
      if (line.low) {
        series.push(...[0, 1].map(() => ({ width: 0, spanGaps: true, points: { show: false } })));
        bands.push({ series: [series.length - 2, series.length - 1], fill: `${stroke}26` });
      }
    }
    const width = panel.box.clientWidth, height = panel.box.clientHeight;
    const grid = { stroke: css("--grid"), width: 1 };
    const shared = { stroke: css("--quiet"), grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    panel.chart = new uPlot(
      {
        width, height, series, bands,
        legend: { show: false },
        padding: [8, 16, 0, 0],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
        scales: { x: { time: false }, y: { range: (_, low, high) => range(panel, low, high) } },
        axes: [
          { ...shared, label: axis().label, labelSize: 16, labelFont: "12px system-ui, sans-serif", labelGap: 0, size: 22, gap: 4,
            values: (_, ticks) => ticks.map(shortNumber) },
          { ...shared, size: (_, ticks) => 14 + 7 * greatest((ticks || [""]).map((tick) => tick.length)), gap: 4,
            values: (_, ticks) => ticks.map(shortNumber) },
        ],
        hooks: { setCursor: [(chart) => showTip(panel, chart, lines)], draw: [painted] },
      },
      tables.length ? uPlot.join(tables) : [[], ...series.slice(1)],
      panel.box,
    );
    panel.isStale = false;
  }

  /** Marks the first chart's paint: the bench reads it. */
  function painted() {
    if (isPainted) return;
    isPainted = true;
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("first-chart")));
  }

  /** The values of every line nearest to the cursor. */
  function showTip(panel, chart, lines) {
    const { left, idx } = chart.cursor;
    if (idx === null || idx === undefined || left < 0) return panel.tip.setAttribute("hidden", "");
    const x = chart.posToVal(left, "x");
    const rows = lines.map((line) => {
      const i = nearest(line, x);
      const band = line.low ? ` (${shortNumber(line.low[i])}–${shortNumber(line.high[i])})` : "";
      const swatch = element("span", "swatch");
      swatch.style.background = colourOf(line.arm);
      return i < 0 ? "" : element("div", "", [swatch, `${line.name}: ${shortNumber(line.ys[i])}${band}`]);
    });
    panel.tip.replaceChildren(`${shortNumber(x)} ${axis().label}`, ...rows);
    panel.tip.removeAttribute("hidden");
    const room = panel.box.clientWidth - panel.tip.offsetWidth;
    panel.tip.style.left = `${Math.max(0, Math.min(room, left + 50 > room ? left - panel.tip.offsetWidth : left + 60))}px`;
    panel.tip.style.top = "0px";
  }

  /** Place of the line's point nearest to x that has a value; -1 where it has none. */
  function nearest(line, x) {
    let best = -1;
    line.xs.forEach((own, i) => {
      if (line.ys[i] !== null && (best < 0 || Math.abs(own - x) < Math.abs(line.xs[best] - x))) best = i;
    });
    return best;
  }

  // ---- the page around the charts

  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const panel = panels.find((one) => one.box === entry.target);
        panel.isNear = entry.isIntersecting;
        if (panel.isNear && panel.isStale) draw(panel);
      }
    },
    { rootMargin: "400px" },
  );
  const resize = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const panel = panels.find((one) => one.box === target);
      if (panel.chart && target.clientWidth) panel.chart.setSize({ width: target.clientWidth, height: target.clientHeight });
    }
  });

  function redraw() {
    for (const panel of panels) {
      panel.isStale = true;
      if (panel.isNear) draw(panel);
    }
  }

  function makePanel(given) {
    const box = element("div", "chart");
    const tip = element("div", "tip", [], { hidden: "" });
    const styles = given.lines.length > 1
      ? [element("span", "styles", given.lines.map(([, label], i) => element("span", "", [element("span", `dash d${i}`), label])))]
      : [];
    const caption = [element("span", "name", [given.title]), element("span", "unit", [given.unit]), ...styles];
    box.append(tip);
    panels.push({ ...given, box, tip, chart: null, isStale: true, isNear: false });
    return element("figure", "panel", [element("figcaption", "", caption), box], { "aria-label": `${given.title}, ${given.unit}` });
  }

  function makeSections() {
    for (const { title, panels: given, closed } of sections) {
      const grid = element("div", "panels");
      const target = document.getElementById("panels");
      if (closed) {
        const box = element("details", "", [element("summary", "", [`${title} (${given.length})`]), grid]);
        target.append(element("h3", "", []), box);
      } else {
        target.append(element("h3", "", [title]), grid);
      }
      for (const one of given) {
        grid.append(makePanel(one));
        if (panels.length === 1) draw(panels[0]); // at once: the others when they come near
      }
    }
    panels.forEach((panel) => [watch, resize].forEach((observer) => observer.observe(panel.box)));
  }

  function makeLegend() {
    const legend = document.getElementById("legend");
    arms.forEach((name, place) => {
      const own = runs.map((_, i) => i).filter((i) => runs[i].arm === place);
      const swatch = element("span", "swatch");
      swatch.style.background = `var(--arm-${place % N_COLOURS})`;
      const all = chip("chip", [swatch, name], own);
      const seeds = own.length > 1 ? own.map((i) => chip("chip seed", [runs[i].seed], [i], `seed ${runs[i].seed} of ${name}`)) : [];
      legend.append(element("div", "arm", [all, ...seeds]));
    });
    showPressed();
  }

  /** A button that shows or hides runs. */
  function chip(className, children, places, label) {
    const made = element("button", className, children, { type: "button", ...(label ? { "aria-label": label, title: label } : {}) });
    made.places = places;
    made.addEventListener("click", () => {
      const isShown = places.some((place) => !hidden.has(place));
      places.forEach((place) => (isShown ? hidden.add(place) : hidden.delete(place)));
      showPressed();
      redraw();
    });
    return made;
  }

  function showPressed() {
    for (const made of document.querySelectorAll("#legend .chip")) {
      made.setAttribute("aria-pressed", String(made.places.some((place) => !hidden.has(place))));
    }
  }

  const longest = greatest(runs.map((run) => run.train.step.length * run.train.block));
  choice.smooth.value = longest <= MOST_UNSMOOTHED ? "1" : longest <= 200 ? "5" : "15";
  makeLegend();
  makeSections();
  Object.values(choice).forEach((select) => select.addEventListener("change", redraw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
