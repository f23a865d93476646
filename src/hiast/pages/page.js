"use strict";
// Tables: a click on a head sorts by its column, another one turns the order around. Cells without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const [x, y] = [Number(a), Number(b)];
      return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
    });
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}
// Charts: a line follows the pointer, and a box names the values of all series at the nearest step.
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg"), tip = chart.querySelector(".tip"), cursor = svg.querySelector(".cursor");
  const columns = JSON.parse(chart.dataset.columns);
  const width = svg.viewBox.baseVal.width;
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * width;
    let near = columns[0];
    for (const column of columns) if (Math.abs(column.at - at) < Math.abs(near.at - at)) near = column;
    if (!near) return;
    tip.replaceChildren(...near.lines.map((line) => Object.assign(document.createElement("div"), {textContent: line})));
    for (const side of ["x1", "x2"]) cursor.setAttribute(side, near.at);
    const left = near.at / width * box.width;
    tip.style.left = `${Math.max(0, left + 12 + tip.offsetWidth > box.width ? left - 12 - tip.offsetWidth : left + 12)}px`;
    tip.style.visibility = cursor.style.visibility = "visible";
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { tip.style.visibility = cursor.style.visibility = "hidden"; });
}
// Examples: a click opens all pictures of an image. The class under the pointer is named by the colors of the legend.
const dialog = document.querySelector("dialog");
if (dialog) {
  const names = new Map(JSON.parse(dialog.dataset.colors));
  const views = dialog.querySelector(".views"), under = dialog.querySelector(".under");
  const name = (event, picture) => {
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const paper = canvas.getContext("2d");
    paper.drawImage(picture, 0, 0);
    const x = Math.floor(event.offsetX / picture.clientWidth * canvas.width);
    const y = Math.floor(event.offsetY / picture.clientHeight * canvas.height);
    const color = [...paper.getImageData(x, y, 1, 1).data.slice(0, 3)].join(",");
    under.textContent = `${picture.alt}: ${names.get(color) ?? "ignored"}`;
  };
  for (const example of document.querySelectorAll(".example")) example.addEventListener("click", () => {
    dialog.querySelector("h3").textContent = example.dataset.title;
    under.textContent = "";
    views.replaceChildren(...[...example.querySelectorAll("[data-view]")].map((part) => {
      const figure = document.createElement("figure"), text = document.createElement("figcaption");
      const picture = new Image();
      picture.src = part.tagName === "IMG" ? part.src : part.dataset.src;
      picture.alt = text.textContent = part.dataset.view;
      if (part.dataset.labels !== undefined) {
        picture.className = "labels";
        picture.addEventListener("pointermove", (event) => name(event, picture));
      }
      figure.append(text, picture);
      return figure;
    }));
    dialog.showModal();
  });
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
