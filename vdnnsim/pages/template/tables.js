// Tables sort by the column whose heading is clicked; and everything begins.

function sortable(table) {
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const sort = () => {
      const up = heading.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
      const value = (row) => row.cells[column].textContent.trim();
      const compare = (one, other) => {
        const [a, b] = [value(one), value(other)], [x, y] = [a, b].map((text) => Number(text.replace("~", "") || NaN));
        return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
      };
      const rows = [...body.rows].sort((one, other) => (up ? compare(one, other) : compare(other, one)));
      table.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...rows);
    };
    heading.tabIndex = 0;
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}

document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll(".views").forEach(async (root) => {
  if (!("DecompressionStream" in window)) {
    root.textContent = "This browser is too old to unpack what is drawn here: any of 2023 or later can.";
    return;
  }
  const data = readDocument(await unpacked(root.querySelector("script")));
  const views = new RunViews(root, data);
  views.show(Number(root.querySelector("input[name=policy]:checked").value));
  root.dataset.ready = "yes";
});
