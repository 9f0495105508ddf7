"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, text = "", name = "") => {
    const node = document.createElement(tag);
    node.textContent = text;
    if (name) node.className = name;
    return node;
  };

  // Tables: a heading's button sorts, the field above filters. Gaps stay below whatever the order.
  const keyOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number.parseFloat(row.cells[column].dataset.value ?? text.replace("−", "-"));
    return { text, number, empty: text === "" || text.startsWith("–") };
  };
  const compare = (a, b, sign) => {
    if (a.empty || b.empty) return a.empty - b.empty;
    const numeric = !Number.isNaN(a.number) && !Number.isNaN(b.number);
    return sign * (numeric ? a.number - b.number : a.text.localeCompare(b.text, "en"));
  };
  const sortTable = (table, heading) => {
    const down = heading.getAttribute("aria-sort") !== "descending";
    const column = heading.cellIndex;
    for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row, column) }));
    rows.sort((a, b) => compare(a.key, b.key, down ? -1 : 1));
    table.classList.add("sorted");
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };
  for (const table of all("table.sortable")) {
    for (const button of all("thead button", table)) {
      button.addEventListener("click", () => sortTable(table, button.closest("th")));
    }
  }
  for (const field of all("input[data-filters]")) {
    const rows = all(`#${field.dataset.filters} tbody tr`);
    const count = field.closest("p").querySelector("output");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  }

  // Identities: the smallest margin decides, so that the worst failure is open first.
  const browser = document.getElementById("browser");
  if (browser && window.identities) {
    const data = window.identities;
    const [scorer, source, failures] = ["browse-scorer", "browse-source", "browse-failures"].map((id) => document.getElementById(id));
    const [list, detail, count] = ["browse-list", "browse-detail", "browse-count"].map((id) => document.getElementById(id));
    data.scorers.forEach((name, n) => scorer.append(new Option(name, n, n === data.first, n === data.first)));
    source.append(new Option("every source", "all"));
    data.sources.forEach((name, n) => source.append(new Option(name, n)));
    const marginOf = (identity) => {
      const own = identity.worst[scorer.value];
      const margins = (source.value === "all" ? own : [own[source.value]]).filter(Boolean).map((entry) => entry[0]);
      return margins.length ? Math.min(...margins) : null;
    };
    const open = (identity, button) => {
      for (const other of all("[aria-current]", list)) other.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      detail.replaceChildren(make("h3", `${identity.name} (${identity.class}), ${identity.views} views`));
      const strip = make("div", "", "strip");
      const names = make("div", "", "lines");
      names.append(...["views", ...data.sources].map((name) => make("span", name)));
      const image = make("img");
      image.src = `identities/${identity.id}.jpg`;
      image.alt = `Views of ${identity.name} in the first row, its distractors of each source below`;
      image.width = 3 * data.size;
      strip.append(names, image);
      const table = make("table");
      const head = table.createTHead().insertRow();
      head.append(make("th", "Smallest margin", "name"), ...data.sources.map((name) => make("th", name)));
      const body = table.createTBody();
      data.scorers.forEach((name, n) => {
        const row = body.insertRow();
        row.append(make("td", name, "name"));
        for (const entry of identity.worst[n]) {
          const cell = make("td", entry ? entry[0].toFixed(3) : "–", entry && entry[0] <= 0 ? "bad" : "");
          if (entry) cell.append(make("small", `${entry[1].toFixed(2)} against ${entry[2].toFixed(2)}`));
          row.append(cell);
        }
      });
      const scroll = make("div", "", "scroll");
      scroll.tabIndex = 0;
      scroll.append(table);
      detail.append(strip, scroll);
    };
    const show = () => {
      const ranked = data.identities.map((identity) => ({ identity, margin: marginOf(identity) }))
        .filter(({ margin }) => margin !== null && (!failures.checked || margin <= 0))
        .sort((a, b) => a.margin - b.margin || a.identity.id - b.identity.id);
      const failed = ranked.filter(({ margin }) => margin <= 0).length;
      count.textContent = `${ranked.length} identities, ${failed} with a failure`;
      list.replaceChildren(...ranked.map(({ identity, margin }) => {
        const item = make("li");
        const button = make("button", `${identity.name} · ${identity.class} `);
        button.type = "button";
        button.append(make("b", margin.toFixed(3), margin <= 0 ? "bad" : ""));
        button.addEventListener("click", () => open(identity, button));
        item.append(button);
        return item;
      }));
      if (ranked.length) open(ranked[0].identity, list.querySelector("button"));
      else detail.replaceChildren(make("p", "None."));
    };
    for (const control of [scorer, source, failures]) control.addEventListener("change", show);
    // Arrows walk through the list.
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const buttons = all("button", list);
      const next = step && buttons[buttons.indexOf(document.activeElement) + step];
      if (next) { event.preventDefault(); next.focus(); next.click(); }
    });
    show();
  }

  // What the run cost and where it ran: written with the manifest, after this page.
  const about = document.getElementById("about");
  if (about && window.provenance) {
    const { run, result } = window.provenance;
    const body = document.querySelector("#costs tbody");
    for (const cost of run.costs) {
      const row = body.insertRow();
      row.append(make("td", cost.stage, "name"), make("td", cost.rule, "name"), make("td", cost.jobs));
      row.append(make("td", cost.seconds.toFixed(1)), make("td", cost.cpu_seconds.toFixed(1)), make("td", cost.peak_mb));
    }
    const beside = run.cost_beside_paper;
    const shown = (value) => value === null ? "–" : value === 0 ? "0" : Number(value.toPrecision(3)).toString();
    for (const cost of beside.rows) {
      const row = document.querySelector("#costs-beside tbody").insertRow();
      row.append(make("td", cost.what, "name"), make("td", cost.unit, "name"));
      row.append(make("td", shown(cost.ours)), make("td", shown(cost.paper)), make("td", cost.why, "why"));
    }
    // The one effect that is known when the run has ended.
    const { claim, place, numbers, holds, verdict } = beside.effect;
    const [mark, name] = { true: ["✓", "holds"], false: ["✗", "fails"] }[holds] ?? ["?", ""];
    const item = make("li");
    const text = make("span", `${claim} `);
    text.append(make("span", `(${place})`, "soft"), make("br"), make("span", numbers, "soft"));
    item.append(make("span", `${mark} ${verdict}`, `verdict ${name}`), text);
    document.getElementById("effects-list").append(item);
    const seconds = run.costs.reduce((sum, cost) => sum + cost.seconds, 0);
    const machine = run.machine;
    about.textContent = `Written ${run.written} on ${machine.cores} × ${machine.processor}` +
      `${machine.gpus.length ? `, ${machine.gpus.join(", ")}` : ", no GPU"}; ${seconds.toFixed(0)} seconds of jobs in all; ` +
      `code ${result.code.commit ? result.code.commit.slice(0, 12) : "without a commit"}${result.code.changed ? " with changes" : ""}; ` +
      `Python ${result.versions.python}, torch ${result.versions.torch}.`;
    for (const { step, why, when } of result.accepted ?? []) {
      about.after(make("p", `Results of ${step} were made by earlier code and accepted on ${when}: ${why}`));
    }
  }
})();
