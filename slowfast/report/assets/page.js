"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // Okabe and Ito's colours, which stay apart for colour-blind readers.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#b8a800"];
  const dashes = ["solid", "dot", "dash", "dashdot"];
  const state = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const main = document.querySelector("main");
  const nav = document.querySelector("nav");
  let draws = [];

  const run = () => data.runs[Math.min(Number(state.run) || 0, data.runs.length - 1)];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value) => (value === null || value === undefined ? "" : value.toFixed(1));
  const interval = (pair) => (pair ? `${percent(pair[0])} – ${percent(pair[1])}` : "");

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  function section(id, title, note, ...children) {
    nav.append(element("a", { href: `#${id}` }, title));
    const heading = element("h2", { id }, title);
    main.append(element("section", {}, heading, note ? element("p", { class: "note" }, note) : null, ...children));
  }

  // Charts are drawn after the page is laid out, and again when the theme changes.
  // traces: a list, or a function of the theme's colours that gives one.
  function chart(traces, options = {}) {
    const box = element("div", { class: "chart", role: "img", "aria-label": options.label || options.title || "chart" });
    if (traces.length > 6) box.style.height = "330px"; // room for the legend
    if (options.height) box.style.height = `${options.height}px`;
    draws.push(() => {
      const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), automargin: true };
      const layout = {
        title: options.title ? { text: options.title, font: { size: 13 }, x: 0.02 } : undefined,
        font: { size: 11, color: css("--text") }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        margin: { l: 46, r: 10, t: options.title ? 30 : 10, b: options.x ? 36 : 24 }, colorway: colours, hovermode: "closest",
        legend: { orientation: "h", y: -0.12, font: { size: 10 } }, showlegend: options.legend !== false,
        xaxis: { ...axis, title: { text: options.x || "" }, ...(options.xaxis || {}) },
        yaxis: { ...axis, title: { text: options.y || "" }, ...(options.yaxis || {}) },
      };
      Plotly.react(box, typeof traces === "function" ? traces() : traces, layout, { responsive: true, displaylogo: false, displayModeBar: false });
    });
    return box;
  }

  // columns: {name, number, format, wrap}. Rows are sorted by a click or Enter on a heading.
  function table(columns, rows, options = {}) {
    const body = element("tbody");
    const caption = options.label || "table";
    let sorted = { column: options.sort ?? -1, down: options.down ?? true };
    const fill = () => {
      const shown = rows.slice();
      if (sorted.column >= 0) {
        const { column, down } = sorted;
        const empty = (value) => value === null || value === undefined || value === "";
        shown.sort((a, b) => {
          const [x, y] = [a[column], b[column]];
          if (empty(x) || empty(y)) return empty(x) - empty(y);
          const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
          return down ? -order : order;
        });
      }
      body.replaceChildren(...shown.map((row) => element("tr", {}, columns.map((column, k) =>
        element("td", { class: [column.number && "number", column.wrap && "wrap", column.narrow === false && "hide-narrow"].filter(Boolean).join(" ") },
          column.format ? column.format(row[k]) : row[k] ?? "")))));
      heads.forEach((head, k) => {
        const direction = sorted.down ? "descending" : "ascending";
        head.setAttribute("aria-sort", k === sorted.column ? direction : "none");
      });
    };
    const heads = columns.map((column, k) => element("th",
      { scope: "col", class: [column.number && "number", column.narrow === false && "hide-narrow"].filter(Boolean).join(" ") },
      element("button", { type: "button", onclick: () => {
        sorted = { column: k, down: sorted.column === k ? !sorted.down : Boolean(column.number) };
        fill();
      } }, column.name)));
    fill();
    return element("div", { class: "scroll panel", tabindex: "0", role: "region", "aria-label": caption },
      element("table", {}, element("thead", {}, element("tr", {}, heads)), body));
  }

  function choice(label, values, chosen, change) {
    const select = element("select", { onchange: (event) => change(event.target.value) },
      values.map((value) => element("option", { value, selected: value === chosen }, value)));
    return element("label", {}, `${label} `, select);
  }

  function search(label, value, change) {
    return element("label", {}, `${label} `,
      element("input", { type: "search", value: value || "", oninput: (event) => change(event.target.value) }));
  }

  function summary() {
    const { lines, config, missing } = run();
    const facts = table([{ name: "run" }, { name: run().name, wrap: true }], lines, { label: "summary of the run" });
    const changes = table([{ name: "key" }, { name: "default", wrap: true, narrow: false }, { name: "here", wrap: true }],
      config, { label: "keys that differ from the defaults" });
    section("summary", "Summary", "", element("div", { class: "columns" }, facts, changes),
      missing.length ? element("div", {}, element("h3", {}, "Not shown"), element("ul", { class: "note" },
        missing.map((line) => element("li", {}, line)))) : null);
  }

  function curves() {
    if (!data.curves.length) return;
    const names = [...new Set(data.runs.map((one) => one.name))];
    const charts = data.curves.map(({ title, lines }) => {
      const kinds = [...new Set(lines.map((line) => line.name.split(" (")[0]))];
      const traces = lines.map((line) => ({
        x: line.x, y: line.y, mode: line.x.length < 6 ? "lines+markers" : "lines", type: "scatter",
        name: names.length > 1 ? `${line.run}: ${line.name}` : line.name,
        line: { width: 1.5, color: colours[kinds.indexOf(line.name.split(" (")[0]) % colours.length],
          dash: line.name.endsWith("(train)") ? "dot" : dashes[names.indexOf(line.run) % dashes.length] },
      }));
      return element("div", { class: "panel" }, chart(traces, { title, legend: traces.length > 1, label: `${title} over the epochs` }));
    });
    section("curves", "Curves", "From the log, over the epochs. Dotted: values of the training clips.",
      element("div", { class: "charts" }, charts));
  }

  function results() {
    if (!run().results.length) return;
    const columns = [{ name: "value" }, { name: "%", number: true, format: percent },
      { name: "chance", number: true, format: percent, narrow: false },
      { name: "95 % by segment", number: true, format: interval },
      { name: "95 % by video", number: true, format: interval }];
    section("results", "Results", "By segment: as if other segments of the same videos had been drawn. By video: as if other videos had been, which is what a new kitchen asks for.",
      table(columns, run().results, { label: "results of the test" }));
  }

  function classes() {
    if (!run().classes.length) return;
    const part = element("div", { class: "columns" }, run().classes.map(({ head, rows }) => element("div", {},
      element("h3", {}, `${head}: ${rows.length} classes`),
      table([{ name: "class" }, { name: "tested", number: true }, { name: "trained", number: true, narrow: false }, { name: "part", narrow: false },
        { name: "top-1 %", number: true, format: percent }, { name: "top-5 %", number: true, format: percent, narrow: false }],
      rows, { sort: 1, label: `classes of ${head}` }))));
    section("classes", "Classes", "Recall of every class that occurs in the test. Tail: the rarest classes, which together hold 20 % of the training segments.", part);
  }

  function confusion() {
    if (!run().confusion.length) return;
    const orders = ["number", "support", "recall", "most confused"];
    let [head, order, filter, share] = [run().confusion[0].head, "support", "", true];
    const place = element("div", { class: "panel" });
    const draw = () => {
      const { names, counts } = run().confusion.find((one) => one.head === head);
      const sums = counts.map((row) => row.reduce((a, b) => a + b, 0));
      const keys = {
        number: (k) => k, support: (k) => -sums[k],
        recall: (k) => (sums[k] ? counts[k][k] / sums[k] : 2), "most confused": (k) => counts[k][k] - sums[k],
      };
      const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
      const kept = names.map((_, k) => k)
        .filter((k) => !words.length || words.some((word) => names[k].toLowerCase().includes(word)))
        .sort((a, b) => keys[order](a) - keys[order](b));
      // A filter keeps the columns that the kept rows are taken for.
      const columns = words.length ? names.map((_, k) => k).filter((k) => kept.includes(k) || kept.some((row) => counts[row][k])) : kept;
      const value = (i, j) => (share ? (sums[i] ? (100 * counts[i][j]) / sums[i] : 0) : counts[i][j]);
      const trace = () => ({
        type: "heatmap", x: columns.map((j) => names[j]), y: kept.map((i) => names[i]),
        z: kept.map((i) => columns.map((j) => value(i, j))),
        text: kept.map((i) => columns.map((j) => `true ${names[i]}, answered ${names[j]}<br>${counts[i][j]} of ${sums[i]} segments`)),
        hovertemplate: "%{text}<extra></extra>", colorscale: [[0, css("--panel")], [1, css("--accent")]], showscale: true,
        colorbar: { thickness: 10, title: { text: share ? "%" : "" } }, xgap: 1, ygap: 1,
      });
      const height = Math.max(320, Math.min(900, 14 * kept.length + 140));
      draws = draws.filter((one) => one.box !== place);
      place.replaceChildren(chart(() => [trace()], { legend: false, height, label: `confusion matrix of ${head}`,
        x: "answered", y: "true", yaxis: { autorange: "reversed", type: "category" }, xaxis: { type: "category", tickangle: -60 } }));
      const last = draws[draws.length - 1];
      last.box = place;
      if (document.documentElement.dataset.ready) last();
      place.dataset.rows = kept.length;
    };
    const tools = element("div", { class: "tools" },
      choice("Head", run().confusion.map((one) => one.head), head, (value) => { head = value; draw(); }),
      choice("Order", orders, order, (value) => { order = value; draw(); }),
      search("Classes", "", (value) => { filter = value; draw(); }),
      element("label", {}, element("input", { type: "checkbox", checked: "", onchange: (event) => { share = event.target.checked; draw(); } }), " share of the true class"));
    draw();
    section("confusion", "Confusion", "Rows are true classes, columns answers. Type words to keep the classes that contain one of them.", tools, place);
  }

  function picture(strip, text) {
    return strip ? element("img", { src: strip, alt: `frames of: ${text}`, loading: "lazy" }) : null;
  }

  function pairs() {
    const found = run().pairs;
    if (!found) return;
    let [group, words, order] = [state.group || "all", state.pairs || "", "most similar"];
    const list = element("div", { class: "cards", id: "pair-list" });
    const count = element("span", { class: "note", role: "status" });
    const fill = () => {
      const asked = words.toLowerCase().split(/\s+/).filter(Boolean);
      const shown = found.pairs.filter((pair) => (group === "all" || pair.group === group) &&
        asked.every((word) => `${pair.ego.text} ${pair.exo.text}`.toLowerCase().includes(word)));
      shown.sort((a, b) => (order === "most similar" ? b.similarity - a.similarity : a.similarity - b.similarity));
      count.textContent = `${shown.length} of ${found.pairs.length} shown pairs`;
      list.replaceChildren(...shown.map((pair) => element("article", { class: "card" },
        element("strong", {}, pair.ego.text || "no narration"), picture(pair.ego.strip, pair.ego.text),
        element("strong", {}, pair.exo.text || "no narration"), picture(pair.exo.strip, pair.exo.text),
        element("div", { class: "facts" }, element("span", {}, `similarity ${pair.similarity.toFixed(3)}`),
          element("span", { class: pair.kept ? "good" : "bad" }, pair.kept ? "aligned" : "below the threshold"),
          element("span", {}, pair.tier), element("span", {}, `${pair.ego.id} / ${pair.exo.id}`)))));
    };
    fill();
    const { count: counts, edges } = found.histogram;
    const centres = counts.map((_, k) => (edges[k] + edges[k + 1]) / 2);
    const bars = { type: "bar", x: centres, y: counts, name: "pairs",
      marker: { color: centres.map((x) => (x > found.threshold ? colours[0] : colours[6])) } };
    const tiers = table([{ name: "labels" }, { name: "pairs", number: true }], Object.entries(found.tiers), { sort: 1, label: "agreement of labels" });
    section("pairs", "Pairs",
      `${found.kept} of ${found.count} candidates in ${found.file} have narrations more similar than ${found.threshold} and are aligned. ${found.lost}`,
      element("div", { class: "columns" }, element("div", { class: "panel" }, chart([bars], { title: "similarity of the narrations", legend: false, x: "cosine" })), tiers),
      element("div", { class: "tools" }, search("Words", words, (value) => { words = value; fill(); }),
        choice("Group", ["all", "best", "worst", "random"], group, (value) => { group = value; fill(); }),
        choice("Order", ["most similar", "least similar"], order, (value) => { order = value; fill(); }), count), list);
  }

  function examples() {
    const found = run().examples;
    if (!found) return;
    for (const group of ["best", "worst"]) {
      const cards = found.rows.filter((row) => row.group === group).map((row) => element("article", { class: "card" },
        element("strong", {}, row.text || row.id), picture(row.strip, row.text || row.id),
        row.heads.map(({ head, label, answers }) => element("div", {}, element("h3", {}, `${head}: ${label || "no label"}`),
          answers.map(([name, share, right]) => element("span", { class: right ? "bar right" : "bar", style: `--share: ${100 * share}%` },
            element("span", { class: "p" }, `${(100 * share).toFixed(1)} %`), element("span", {}, right ? `${name} ✓` : name))))),
        row.maps.map(({ title, strip }) => element("figure", {}, element("figcaption", {}, title), picture(strip, title))),
        element("div", { class: "facts" }, row.id)));
      section(`predictions-${group}`, group === "best" ? "Best predictions" : "Worst predictions",
        `The segments whose labels got the ${group === "best" ? "most" : "least"} probability. ${found.lost}`, element("div", { class: "cards" }, cards));
    }
  }

  function embedding() {
    const found = run().embedding;
    if (!found) return;
    const symbols = { ego: "circle", exo: "diamond", text: "cross" };
    let [map, by] = [Object.keys(found.maps)[0], "view"];
    const place = element("div", { class: "panel" });
    const draw = () => {
      const points = found.maps[map];
      const value = (k) => (by === "view" ? found.kinds[k] : found.labels[by][k] || found.kinds[k]);
      const groups = new Map();
      points.forEach((_, k) => {
        const key = value(k);
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(k);
      });
      const traces = [...groups].sort().map(([name, rows]) => ({
        type: "scatter", mode: "markers", name, x: rows.map((k) => points[k][0]), y: rows.map((k) => points[k][1]),
        text: rows.map((k) => `${found.kinds[k]}: ${found.texts[k]}`), hovertemplate: "%{text}<extra></extra>",
        marker: { size: 6, opacity: 0.75, symbol: rows.map((k) => symbols[found.kinds[k]]) },
      }));
      draws = draws.filter((one) => one.box !== place);
      place.replaceChildren(chart(traces, { height: 520, label: `${map} map of the embeddings by ${by}` }));
      const last = draws[draws.length - 1];
      last.box = place;
      if (document.documentElement.dataset.ready) last();
    };
    draw();
    section("embedding", "Embedding map", "Projections of clips (circle: ego, diamond: exo) and embeddings of their narrations (cross) in one plane.",
      element("div", { class: "tools" }, choice("Map", Object.keys(found.maps), map, (value) => { map = value; draw(); }),
        choice("Colour", ["view", ...Object.keys(found.labels)], by, (value) => { by = value; draw(); })), place);
  }

  function calibration() {
    if (!run().calibration.length) return;
    const charts = run().calibration.map(({ head, confidence, accuracy, count }) => element("div", { class: "panel" }, chart([
      { type: "scatter", mode: "lines", x: [0, 100], y: [0, 100], name: "calibrated", line: { color: colours[6], dash: "dot" } },
      { type: "scatter", mode: "lines+markers", x: confidence, y: accuracy, name: head, text: count.map((n) => `${n} segments`),
        hovertemplate: "%{x:.1f} % sure, %{y:.1f} % right<br>%{text}<extra></extra>", line: { color: colours[0] } },
    ], { title: head, x: "mean confidence, %", y: "right, %", legend: false, label: `calibration of ${head}` })));
    section("calibration", "Calibration", "How often the best answer is right, by how sure the model is. Below the dotted line it is too sure.",
      element("div", { class: "charts" }, charts));
  }

  function differences() {
    if (!data.differences.length) return;
    const excludesZero = (pair) => pair && (pair[0] > 0 || pair[1] < 0);
    const parts = data.differences.map(({ run: other, base, rows, note }) => {
      const columns = [{ name: "value" }, { name: base, number: true, format: percent }, { name: other, number: true, format: percent },
        { name: "difference", number: true, format: (x) => (x === null ? "" : `${x > 0 ? "+" : ""}${x.toFixed(2)}`) },
        { name: "95 %, paired", number: true, format: (pair) => element("span", { class: excludesZero(pair) ? (pair[0] > 0 ? "good" : "bad") : "" }, interval(pair)) }];
      return element("div", {}, element("h3", {}, `${other} against ${base}: ${note}`), rows.length ? table(columns, rows, { label: `${other} against ${base}` }) : null);
    });
    section("differences", "Differences", "Paired bootstrap over the segments that both runs were tested on. Coloured where the interval excludes zero.",
      element("div", { class: "columns" }, parts));
  }

  function render() {
    nav.replaceChildren();
    main.replaceChildren();
    draws = [];
    delete document.documentElement.dataset.ready;
    for (const part of [summary, differences, curves, results, classes, confusion, pairs, examples, embedding, calibration]) part();
    draws.forEach((draw) => draw());
    document.documentElement.dataset.ready = "true";
  }

  const chosen = document.getElementById("run");
  chosen.append(...data.runs.map((one, k) => element("option", { value: k, selected: one === run() }, one.name)));
  chosen.addEventListener("change", () => { state.run = chosen.value; render(); });
  if (data.runs.length < 2) document.querySelector(".run-choice").remove();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = state.theme || (dark.matches ? "dark" : "light");
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    draws.forEach((draw) => draw());
  });
  render();
})();
