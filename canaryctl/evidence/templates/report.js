"use strict";
// Everything is readable without this: it adds the theme, the filter, and details that open by themselves.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const root = document.documentElement;
  for (const element of all(".js")) element.hidden = false;

  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("canaryctl-theme"); } catch { return null; } };
  const show = (name) => {
    if (name) root.dataset.theme = name; else delete root.dataset.theme;
    const isDark = name ? name === "dark" : dark.matches;
    theme.textContent = isDark ? "Light" : "Dark";
    theme.setAttribute("aria-label", isDark ? "Use light colours" : "Use dark colours");
  };
  show(remembered());
  dark.addEventListener("change", () => show(root.dataset.theme));
  theme.addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("canaryctl-theme", next); } catch { /* a page from a file may not remember */ }
    show(next);
  });

  const rows = all("#probes tr.probe").map((row) => ({ row, more: row.nextElementSibling }));
  const buttons = all("button[data-filter]");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const state = { filter: "all", q: "" };
  const filter = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, more } of rows) {
      const text = (row.textContent + " " + more.textContent).toLowerCase();
      const fits = (state.filter === "all" || row.dataset.verdict === state.filter || (state.filter === "flaky" && row.dataset.flaky)) && words.every((word) => text.includes(word));
      row.hidden = more.hidden = !fits;
      count += fits;
    }
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.filter === state.filter));
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  };
  const remember = () => {
    const wanted = new URLSearchParams();
    if (state.filter !== "all") wanted.set("filter", state.filter);
    if (state.q) wanted.set("q", state.q);
    try { history.replaceState(null, "", "#" + wanted); } catch { /* some viewers have no history */ }
  };
  const follow = () => {
    const hash = location.hash.slice(1);
    if (/^(filter|q)=/.test(hash) && search) {
      const wanted = new URLSearchParams(hash);
      state.filter = buttons.some((b) => b.dataset.filter === wanted.get("filter")) ? wanted.get("filter") : "all";
      search.value = state.q = wanted.get("q") || "";
      filter();
      return;
    }
    const target = hash && document.getElementById(hash);
    const inside = target && (target.matches("tr.probe") ? target.nextElementSibling : target).querySelector("details");
    if (inside) inside.open = true;
  };
  if (search) {
    for (const button of buttons) button.addEventListener("click", () => { state.filter = button.dataset.filter; filter(); remember(); });
    search.addEventListener("input", () => { state.q = search.value; filter(); remember(); });
  }
  addEventListener("hashchange", follow);
  follow();

  const expand = document.getElementById("expand");
  if (expand) expand.addEventListener("click", () => {
    const closed = all("#probes details").some((d) => !d.open && !d.closest("[hidden]"));
    for (const details of all("#probes details")) details.open = closed;
    expand.textContent = closed ? "Close all" : "Open all";
  });

  let closed = [];
  addEventListener("beforeprint", () => { closed = all("details:not([open])"); for (const details of closed) details.open = true; });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
