"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);

// make builds an element. Its text is never markup: records are other people's texts.
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "style") for (const [property, setting] of Object.entries(value)) element.style.setProperty(property, setting);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
};

// ---- Numbers, as the tables of the suite write them.

const missing = "–";
const group = digits => digits.replace(/\B(?=(\d{3})+$)/g, ",");

// number writes three significant digits.
const number = x => {
  if (!Number.isFinite(x)) return missing;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 100) {
    const unit = 10 ** (Math.floor(Math.log10(size)) - 2);
    return group((Math.round(x / unit) * unit).toFixed(0));
  }
  let digits = 2 - Math.floor(Math.log10(size));
  if (size * 10 ** digits >= 999.5) digits--;
  return x.toFixed(Math.min(digits, 6));
};

// write writes a value of a figure, in the unit that people read.
const write = (figure, x) => {
  x *= figure.scale || 1;
  if (figure.whole) return group(x.toFixed(0));
  if (figure.finest && Math.abs(x) < figure.finest * 999.5) {
    const digits = Math.max(0, -Math.floor(Math.log10(figure.finest)));
    return (Math.round(x / figure.finest) * figure.finest + 0).toFixed(digits);
  }
  return number(x);
};

const percent = share => {
  const p = share * 100;
  if (p === 0) return "0%";
  if (p < 0.095) return Math.max(p, 0.01).toFixed(2) + "%";
  return (p < 9.95 ? p.toFixed(1) : group(p.toFixed(0))) + "%";
};

// ---- What measurements allow us to say, as package stats decides it.

const median = values => {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

// mannWhitney is the exact two-sided p-value of the U test: all ways to deal the ranks out are
// counted, so ties need no correction.
const mannWhitney = (a, b) => {
  const all = [...a, ...b].sort((x, y) => x - y);
  const rank = x => (all.indexOf(x) + all.lastIndexOf(x) + 2); // twice the mean rank
  const own = a.reduce((sum, x) => sum + rank(x), 0);
  const ranks = all.map(rank);
  // ways[k] are the sums of k ranks, with how many ways lead to each.
  const ways = Array.from({ length: a.length + 1 }, () => new Map());
  ways[0].set(0, 1);
  for (const r of ranks) {
    for (let k = a.length; k > 0; k--) {
      for (const [sum, count] of ways[k - 1]) ways[k].set(sum + r, (ways[k].get(sum + r) || 0) + count);
    }
  }
  let below = 0, above = 0, total = 0;
  for (const [sum, count] of ways[a.length]) {
    total += count;
    if (sum <= own) below += count;
    if (sum >= own) above += count;
  }
  return Math.min(1, 2 * Math.min(below, above) / total);
};

// differ says whether two figures differ: "yes", "no", or "unknown" with too few rounds.
const differ = (a, b) => {
  let ways = 1;
  for (let i = 0; i < a.length; i++) ways = ways * (b.length + 1 + i) / (i + 1);
  if (2 / ways <= 0.05) return mannWhitney(a, b) <= 0.05 ? "yes" : "no";
  if (a.length < 3 || b.length < 3) return "unknown";
  const width = values => Math.max(...values) - Math.min(...values);
  const gap = Math.max(Math.min(...b) - Math.max(...a), Math.min(...a) - Math.max(...b));
  return gap > 0 && gap > Math.max(width(a), width(b)) ? "yes" : "no";
};

// ---- Rows and their figures.

const figureAt = new Map(data.figures.map((figure, i) => [figure.name, i]));
const runOf = row => data.runs[row.run];
const values = (row, i) => row.values[i] || [];
const middle = (row, i) => values(row, i).length ? median(values(row, i)) : NaN;
const bounds = (row, i) => (row.intervals && row.intervals[i]) || [Math.min(...values(row, i)), Math.max(...values(row, i))];
const caveat = (row, i) => row.caveats && row.caveats[i] !== undefined ? data.caveats[row.caveats[i]] : "";

// numberTo writes x to the first digit of its uncertainty.
const numberTo = (x, uncertain) => {
  const digits = -Math.floor(Math.log10(uncertain)), unit = 10 ** -digits;
  const rounded = Math.round(x / unit) * unit + 0;
  return digits > 0 ? rounded.toFixed(Math.min(digits, 6)) : group(rounded.toFixed(0));
};

// summary writes a median and its spread: relative, or both ends where they are far apart.
const summary = (row, i) => {
  const figure = data.figures[i], list = values(row, i), m = middle(row, i);
  const [low, high] = bounds(row, i), half = Math.max(high - m, m - low);
  if (low === high || list.length < 2) return [write(figure, m), ""];
  if (half < Math.abs(m)) return [write(figure, m), "±" + percent(half / Math.abs(m))];
  if (low > 0) return [write(figure, m), `${write(figure, low)}–${write(figure, high)}`];
  const scale = figure.scale || 1, uncertain = Math.max(figure.finest, half * scale);
  return [numberTo(m * scale, uncertain), "±" + numberTo(uncertain, uncertain)];
};

// obstacle says why a figure of two rows cannot be compared, "" where it can.
const obstacle = (figure, a, b) => {
  if (a.run === b.run) return "";
  const one = runOf(a), other = runOf(b), reasons = [];
  for (const need of figure.needs) {
    const x = one.facts[need], y = other.facts[need], fact = data.facts[need];
    if (x === y) continue;
    if (x !== undefined && y !== undefined) reasons.push(`${fact}: ${x || "none"} / ${y || "none"}`);
    else if (fact !== "architecture" && !fact.startsWith("plan.")) reasons.push(`${fact} of the file is not known`);
  }
  return reasons.join("; ");
};

// ---- The state of the page. It is in the address, so that every view can be linked.

const facets = [
  ["variant", row => row.name], ["model", row => row.model], ["library", row => row.library || "none"], ["language", row => row.language || "unknown"], ["class", row => row.class],
  ["machine", row => runOf(row).machine], ["plan", row => runOf(row).plan], ["lab", row => runOf(row).lab], ["engine", row => runOf(row).engine],
];
// breakable lets a narrow column break a name where its parts meet.
const breakable = name => make("span", {}, ...name.split(/(?<=[-+/])/).flatMap((part, i) => i ? [make("wbr"), part] : [part]));
const initial = () => ({ view: data.presets[0].id, all: false, base: "", sort: "", columns: [], n: 6, gib: 4.5, cores: 2, variant: "", figure: "", filters: {} });
let state = initial();

const read = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  state = initial();
  const view = given.get("view");
  if (data.presets.some(preset => preset.id === view)) state.view = view;
  state.all = given.get("all") === "1";
  for (const key of ["base", "sort", "variant", "figure"]) state[key] = given.get(key) || "";
  for (const key of ["n", "gib", "cores"]) if (Number.isFinite(parseFloat(given.get(key)))) state[key] = parseFloat(given.get(key));
  state.columns = (given.get("columns") || "").split(",").filter(name => figureAt.has(name));
  for (const [name] of facets) if (given.has("f." + name)) state.filters[name] = given.getAll("f." + name);
};

const save = () => {
  const fresh = initial(), out = new URLSearchParams();
  if (state.view !== fresh.view) out.set("view", state.view);
  if (state.all) out.set("all", "1");
  for (const key of ["base", "sort", "variant", "figure"]) if (state[key]) out.set(key, state[key]);
  for (const key of ["n", "gib", "cores"]) if (state[key] !== fresh[key]) out.set(key, state[key]);
  if (state.columns.length) out.set("columns", state.columns.join(","));
  for (const [name, list] of Object.entries(state.filters)) for (const value of list) out.append("f." + name, value);
  const hash = "#" + out;
  if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
};

const change = edit => {
  edit(state);
  save();
  render();
};

const preset = () => data.presets.find(preset => preset.id === state.view);

// columns are the places of the figures shown. A name that ends in a dot is a family's.
const columns = () => {
  if (state.columns.length) return state.columns.map(name => figureAt.get(name));
  return data.figures.flatMap((figure, i) => {
    const place = preset().figures.findIndex(name => name === figure.name || name.endsWith(".") && figure.name.startsWith(name));
    return place < 0 ? [] : [[place, i]];
  }).sort((a, b) => a[0] - b[0]).map(([, i]) => i);
};

// candidates are the rows that the filters let through. One run answers a question: the newest
// of those with the most variants, of the first plan that has any. With "all" it is every run.
const candidates = () => {
  const passes = row => facets.every(([name, of]) => !state.filters[name] || state.filters[name].includes(of(row)));
  const asked = row => state.filters.plan || runOf(row).own || preset().plans.includes(runOf(row).plan);
  const rows = data.rows.filter(row => passes(row) && asked(row));
  if (state.all) return rows;
  const count = new Map();
  for (const row of rows) count.set(row.run, (count.get(row.run) || 0) + 1);
  const rank = run => preset().plans.indexOf(data.runs[run].plan) < 0 ? preset().plans.length : preset().plans.indexOf(data.runs[run].plan);
  const best = [...count.keys()].filter(run => !data.runs[run].own).sort((a, b) => rank(a) - rank(b) || count.get(b) - count.get(a) || a - b)[0];
  return rows.filter(row => row.run === best || runOf(row).own);
};

// baseOf is the row that another is read against: the base of the same run, else the first
// one shown.
const baseOf = (row, rows) => {
  const wanted = rows.filter(other => other.variant === base(rows));
  return wanted.find(other => other.run === row.run) || wanted[0];
};
const base = rows => {
  const names = rows.map(row => row.variant);
  return names.includes(state.base) ? state.base : names.find(name => name.startsWith("floor/")) || names[0] || "";
};

// ---- The table.

const sorted = rows => {
  const down = state.sort.startsWith("-"), name = state.sort.replace(/^-/, "");
  if (!name) return rows;
  const i = figureAt.get(name);
  const key = row => i === undefined ? row.variant : middle(row, i);
  return [...rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (typeof x === "string") return (down ? -1 : 1) * x.localeCompare(y);
    const gone = Number.isNaN(x) - Number.isNaN(y);
    if (gone || Number.isNaN(x)) return gone;
    return down ? y - x : x - y;
  });
};

const head = (name, title, unit, means) => {
  const direction = state.sort === name ? "ascending" : state.sort === "-" + name ? "descending" : null;
  return make("th", { scope: "col", class: unit === null ? null : "number", title: means, "aria-sort": direction },
    make("button", { type: "button", onclick: () => change(s => { s.sort = s.sort === name ? "-" + name : name; }) }, title,
      ...(unit ? [" ", make("span", { class: "unit", text: unit })] : [])));
};

const ratio = (row, i, against, refused) => {
  const figure = data.figures[i];
  if (!against || against === row || !values(row, i).length || !values(against, i).length) return [];
  const why = obstacle(figure, row, against);
  if (why) {
    refused.add(`${figure.title} of ${row.variant} (${runOf(row).date}) is not compared with that of ${against.variant} (${runOf(against).date}): ${why}.`);
    return [make("span", { class: "ratio refused", title: "not compared: " + why, text: "not compared" })];
  }
  const least = middle(against, i), own = middle(row, i);
  if (!(least > 0)) return [];
  const text = "× " + number(own / least);
  for (const side of [row, against]) {
    if ((side.unranked || []).includes(i)) return [make("span", { class: "ratio same", title: caveat(side, i), text })];
  }
  const verdict = figure.better === 0 ? "yes" : differ(values(row, i), values(against, i));
  if (verdict === "yes") return [make("span", { class: "ratio", text })];
  const reason = verdict === "no" ? "within the noise of the base" : "too few rounds to tell it from the base";
  return [make("span", { class: "ratio same", title: reason, text })];
};

const cell = (row, i, most, rows, refused) => {
  const figure = data.figures[i], note = caveat(row, i);
  if (!values(row, i).length) {
    return make("td", { class: "number" }, make("button", { type: "button", class: "cell", title: note || "not measured", text: missing + (note ? " *" : ""), onclick: () => details(row, i) }));
  }
  const x = middle(row, i);
  const share = most[i] > 0 && x > 0 ? Math.max(1, 100 * x / most[i]) : 0;
  return make("td", { class: "number" },
    make("button", { type: "button", class: "cell", title: note, onclick: () => details(row, i) }, summary(row, i)[0] + (note ? " *" : ""),
      " ", make("span", { class: "spread", text: summary(row, i)[1] })),
    make("span", { class: "bar", style: { "--width": share.toFixed(1) + "%", "--bar": row.color } }),
    ...ratio(row, i, baseOf(row, rows), refused));
};

const renderTable = rows => {
  const shown = columns(), refused = new Set();
  const most = {};
  for (const i of shown) most[i] = Math.max(0, ...rows.map(row => middle(row, i)).filter(Number.isFinite));
  const several = new Set(rows.map(row => row.run)).size > 1;
  const body = sorted(rows).map(row => make("tr", { "data-variant": row.variant, "data-run": runOf(row).name },
    make("th", { scope: "row" }, breakable(row.variant + (row.waived ? " †" : "")), ...(several ? [make("span", { class: "sub", text: `${runOf(row).plan}, ${runOf(row).lab}, ${runOf(row).date.slice(0, 10)}` })] : [])),
    ...shown.map(i => cell(row, i, most, rows, refused))));
  at("table").replaceChildren(
    make("thead", {}, make("tr", {}, head("variant", "variant", null), ...shown.map(i => head(data.figures[i].name, data.figures[i].title, data.figures[i].unit, data.figures[i].means)))),
    make("tbody", {}, ...body));
  const notes = [];
  const rounds = rows.flatMap(row => shown.map(i => values(row, i).length)).filter(Boolean);
  if (rounds.length) {
    const least = Math.min(...rounds), n = Math.max(...rounds);
    notes.push(`Medians of ${n === 1 ? "one round" : (least < n ? least + " to " : "") + n + " rounds"}; × is the multiple of the base, ${base(rows)}. Grey: within the noise of the base, too few rounds to tell, or set by the clients.`);
  } else notes.push("No run answers this.");
  for (const text of new Set(rows.flatMap(row => shown.map(i => caveat(row, i))))) if (text) notes.push("* " + text);
  for (const text of new Set(rows.filter(row => row.waived).map(row => `† ${row.name}: ${row.waived}`))) notes.push(text);
  const list = [...refused];
  notes.push(...list.slice(0, 3));
  if (list.length > 3) notes.push(`${list.length - 3} more comparisons are refused for such reasons: point at "not compared".`);
  at("notes").replaceChildren(...notes.map(text => make("p", { class: "note", text })));
};

const details = (row, i) => {
  const figure = data.figures[i], run = runOf(row), list = values(row, i);
  const entry = (name, ...content) => [make("dt", { text: name }), make("dd", {}, ...content)];
  const parts = [
    ...entry("value", list.length ? `${summary(row, i)[0]} ${figure.unit} ${summary(row, i)[1]}` : "not measured"),
    ...entry("all rounds", list.map(x => write(figure, x)).join("  ") || missing),
    ...entry("meaning", figure.means),
  ];
  if (caveat(row, i)) parts.push(...entry("must be known", caveat(row, i)));
  if (row.waived) parts.push(...entry("does not do", row.waived));
  parts.push(...entry("machine", run.machine), ...entry("run", `${run.title}, ${run.date}, ${run.go}`));
  if (!run.own) {
    parts.push(
      ...entry("trials", make("a", { href: `./${encodeURIComponent(run.name)}/index.html#trials`, text: "each trial" }), " · ",
        make("a", { href: `./${encodeURIComponent(run.name)}/${data.trialsFile}`, text: "raw JSON" })),
      ...entry("repeat it", make("code", { text: run.command })));
  }
  at("details-title").textContent = `${figure.title}, ${row.variant}`;
  at("details").querySelector("dl").replaceChildren(...parts);
  at("details").showModal();
};

// ---- Answer and controls.

const renderAnswer = rows => {
  const run = rows.map(runOf).find(run => !run.own), question = preset();
  at("title").textContent = question.title;
  const whole = run && data.runs.indexOf(run) === question.from;
  at("answer").replaceChildren(...(whole ? question.answer : []).map(text => make("p", { text })));
  const runs = new Set(rows.map(row => row.run));
  at("source").textContent = !run ? "" : runs.size === 1 ? `${run.title}: ${run.machine}, lab ${run.lab}, ${run.date}. ${run.command}` : `${runs.size} runs`;
  at("questions").replaceChildren(...data.presets.filter(p => data.rows.some(row => p.plans.includes(runOf(row).plan))).map(p =>
    make("a", { href: "#view=" + p.id, text: p.title, "aria-current": p.id === state.view ? "true" : null })));
};

const option = (value, text, selected) => make("option", { value, text, selected: value === selected });

const renderControls = rows => {
  at("base").replaceChildren(...[...new Set(rows.map(row => row.variant))].map(name => option(name, name, base(rows))));
  at("all").checked = state.all;
  const toggle = (name, value, on) => change(s => {
    const list = new Set(s.filters[name] || []);
    if (on) list.add(value); else list.delete(value);
    if (list.size) s.filters[name] = [...list]; else delete s.filters[name];
  });
  at("facets").replaceChildren(...facets.flatMap(([name, of]) => {
    const choices = [...new Set(data.rows.map(of))].sort();
    if (choices.length < 2) return [];
    return [make("fieldset", { class: "chips" }, make("legend", { text: name }), ...choices.map(value =>
      make("label", {}, make("input", { type: "checkbox", "data-facet": name, value, checked: (state.filters[name] || []).includes(value), onchange: event => toggle(name, value, event.target.checked) }), value)))];
  }));
  const shown = columns();
  at("columns").replaceChildren(...[...new Set(data.figures.map(figure => figure.kind))].map(kind =>
    make("fieldset", { class: "chips" }, make("legend", { text: kind }), ...data.figures.flatMap((figure, i) => figure.kind !== kind ? [] : [
      make("label", { title: figure.means }, make("input", {
        type: "checkbox", "data-column": figure.name, checked: shown.includes(i),
        onchange: event => change(s => {
          const list = shown.filter(other => other !== i);
          if (event.target.checked) list.push(i);
          s.columns = list.map(other => data.figures[other].name);
        }),
      }), figure.title)]))));
};

// ---- What would fit.

const renderFit = rows => {
  const n = Math.round(10 ** state.n), bytes = 2 ** state.gib * 2 ** 30;
  for (const key of ["n", "gib", "cores"]) at(key).value = state[key];
  at("n-out").textContent = number(n);
  at("gib-out").textContent = number(2 ** state.gib) + " GiB";
  at("cores-out").textContent = state.cores;
  const gauge = (share, beyond, color) => make("span", { class: "gauge" }, make("i", { class: beyond ? "beyond" : null, style: { "--width": Math.min(100, 100 * share).toFixed(1) + "%", "--bar": color } }));
  const newest = new Map();
  for (const row of rows) if (row.bytes > 0 && !newest.has(row.variant)) newest.set(row.variant, row);
  const known = [...newest.values()].sort((a, b) => a.bytes - b.bytes);
  at("fit").hidden = !known.length;
  at("fits").replaceChildren(
    make("thead", {}, make("tr", {}, ...[["variant"], ["memory needed", "of the machine's"], ["fits into that memory", "conn"], ["carried by those cores", "msg/s"]].map(([title, unit], i) =>
      make("th", { scope: "col", class: i ? "number" : null }, make("button", { type: "button", tabindex: "-1", disabled: true }, title, ...(unit ? [" ", make("span", { class: "unit", text: unit })] : [])))))),
    make("tbody", {}, ...known.map(row => {
      const need = n * row.bytes, over = need > bytes, most = Math.floor(bytes / row.bytes), rate = row.perCore * state.cores;
      return make("tr", { "data-variant": row.variant },
        make("th", { scope: "row" }, breakable(row.variant)),
        make("td", {}, make("span", { class: over ? "over" : null, text: `${number(need / 2 ** 30)} GiB${over ? ": too much" : ""}${n > row.measured ? ", extrapolated" : ""}` }), gauge(need / bytes, n > row.measured, row.color)),
        make("td", { class: "number", text: number(most) + (most > row.measured ? " (extrapolated)" : "") }),
        make("td", { class: "number", text: row.perCore ? number(rate) + (rate > row.measuredRate ? " (extrapolated)" : "") : missing }));
    })));
};

// ---- History of a variant. Only runs that can be compared are joined.

let plot = null;
const renderHistory = rows => {
  const variants = [...new Set(data.rows.map(row => row.variant))].sort();
  const variant = variants.includes(state.variant) ? state.variant : (rows[0] || data.rows[0] || {}).variant;
  const shown = columns(), i = shown.includes(figureAt.get(state.figure)) ? figureAt.get(state.figure) : shown[0];
  at("history-variant").replaceChildren(...variants.map(name => option(name, name, variant)));
  at("history-figure").replaceChildren(...shown.map(j => option(data.figures[j].name, data.figures[j].title, i === undefined ? "" : data.figures[i].name)));
  const figure = data.figures[i];
  const points = data.rows.filter(row => row.variant === variant && !runOf(row).own && values(row, i).length).sort((a, b) => runOf(a).date.localeCompare(runOf(b).date));
  at("history").hidden = !points.length;
  if (plot) plot.destroy();
  plot = null;
  if (!points.length) return;
  const groups = [];
  for (const row of points) {
    const group = groups.find(group => !obstacle(figure, group[0], row));
    if (group) group.push(row); else groups.push([row]);
  }
  at("history-table").replaceChildren(
    make("thead", {}, make("tr", {}, ...["run", "Go", "connbench", "machine", figure.title, "comparable"].map(text => make("th", { scope: "col", text })))),
    make("tbody", {}, ...points.map(row => make("tr", {},
      make("th", { scope: "row" }, make("a", { href: `./${encodeURIComponent(runOf(row).name)}/index.html`, text: runOf(row).date }), ` ${runOf(row).plan}`),
      make("td", { text: runOf(row).go }), make("td", { text: runOf(row).connbench }), make("td", { text: runOf(row).machine }),
      make("td", { class: "number" }, summary(row, i)[0] + " ", make("span", { class: "spread", text: summary(row, i)[1] })),
      make("td", { text: "group " + (groups.findIndex(group => group.includes(row)) + 1) })))));
  const time = row => Date.parse(runOf(row).date.replace(" ", "T") + "Z") / 1000;
  const ink = getComputedStyle(document.body).getPropertyValue("--ink"), faint = getComputedStyle(document.body).getPropertyValue("--faint");
  const colors = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#808080", "#E69F00", "#56B4E9"];
  const axis = { stroke: ink, grid: { stroke: faint }, ticks: { stroke: faint } };
  plot = new uPlot({
    width: Math.min(896, at("plot").clientWidth || 320), height: 260,
    tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { y: { range: (u, low, high) => [Math.min(0, low), high * 1.1 || 1] } },
    axes: [{ ...axis, space: 110, values: (u, ticks) => ticks.map(x => new Date(x * 1000).toISOString().slice(2, 16).replace("T", " ")) }, { ...axis, size: 80, values: (u, ticks) => ticks.map(x => x === 0 ? "0" : number(x * (figure.scale || 1))) }],
    series: [{}, ...groups.map((group, k) => ({ label: "group " + (k + 1), stroke: colors[k % colors.length], points: { size: 8, fill: colors[k % colors.length] }, spanGaps: true }))],
    legend: { show: groups.length > 1, live: false },
  }, [points.map(time), ...groups.map(group => points.map(row => group.includes(row) ? middle(row, i) : null))], at("plot"));
};

// ---- The reader's own run.

const unpack = async file => {
  if (!file.name.endsWith(".gz")) return file.text();
  return new Response(file.stream().pipeThrough(new DecompressionStream("gzip"))).text();
};

const field = (trial, path) => path.split(".").reduce((part, key) => part === null || typeof part !== "object" ? undefined : part[key], trial);

const add = async file => {
  let trials;
  try {
    trials = (await unpack(file)).split("\n").filter(line => line.trim()).map(line => JSON.parse(line));
    if (!trials.length || trials.some(trial => typeof trial.variant !== "string" || typeof trial.class !== "string")) throw new Error("a line is no trial");
  } catch (error) {
    at("dropped").textContent = `${file.name} is no trials.jsonl: ${error.message}`;
    at("own").open = true;
    return;
  }
  const text = key => String(trials[0][key] ?? "");
  const known = { plan: text("plan"), lab: text("lab"), engine: text("engine"), "server CPUs": `[${(trials[0].server_cpus || []).join(" ")}]`, "client CPUs": `[${(trials[0].client_cpus || []).join(" ")}]` };
  data.runs.push({
    name: file.name, own: true, date: text("started").slice(0, 16).replace("T", " "), title: file.name, plan: text("plan"), lab: text("lab"), engine: text("engine"),
    machine: "your machine", go: "", connbench: "", command: "", facts: data.facts.map(fact => known[fact]),
  });
  let left = 0;
  const own = new Map();
  for (const trial of trials) {
    if (trial.valid !== true) { left++; continue; }
    const variant = `${trial.variant}/${trial.class}`;
    if (!own.has(variant)) {
      own.set(variant, { run: data.runs.length - 1, variant: `${variant} (yours)`, name: trial.variant, class: trial.class, model: String(trial.model ?? "").split(":")[0], library: String(trial.library ?? ""), color: "#B2182B", values: {}, bytes: 0, measured: 0, perCore: 0, measuredRate: 0 });
    }
    const row = own.get(variant);
    data.figures.forEach((figure, i) => {
      const x = field(trial, figure.name);
      if (typeof x === "number" && Number.isFinite(x)) (row.values[i] ||= []).push(x);
    });
  }
  data.rows.push(...own.values());
  at("dropped").textContent = `${file.name}: ${own.size} variants of yours are in the table${left ? `, ${left} invalid trials are left out` : ""}. Figures are as recorded: what a report would doubt is not looked at.`;
  at("own").open = true;
  render();
};

// ---- Start.

const render = () => {
  const rows = candidates();
  renderAnswer(rows);
  renderTable(rows);
  renderControls(rows);
  renderFit(rows);
  renderHistory(rows);
};

at("base").addEventListener("change", event => change(s => { s.base = event.target.value; }));
at("all").addEventListener("change", event => change(s => { s.all = event.target.checked; }));
at("reset").addEventListener("click", () => change(s => { const view = s.view; Object.assign(s, initial(), { view }); }));
at("history-variant").addEventListener("change", event => change(s => { s.variant = event.target.value; }));
at("history-figure").addEventListener("change", event => change(s => { s.figure = event.target.value; }));
for (const key of ["n", "gib", "cores"]) at(key).addEventListener("input", event => change(s => { s[key] = Number(event.target.value); }));
at("file").addEventListener("change", event => { for (const file of event.target.files) add(file); });
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  for (const file of event.dataTransfer.files) add(file);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => render()); // for the plot
addEventListener("hashchange", () => { read(); render(); });
at("controls").hidden = false;
read();
render();
