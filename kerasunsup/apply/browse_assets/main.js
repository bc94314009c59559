"use strict";
// The start, and the buttons above the map.

(() => {
  const images = readImages();
  const thumbnails = new Thumbnails(images);
  const byId = (id) => document.getElementById(id);
  const say = (text) => { byId("announce").textContent = text; };
  const inWords = (number) => number.toLocaleString("en");
  byId("title").textContent = images.what;

  const map = new ImageMap(byId("map"), images, thumbnails, { open, toggle, hover, pick });
  const details = new Details(images, thumbnails, {
    open, toggle, close: back, isSelected: (image) => map.selected[image] === 1,
  });
  const filters = new Filters(images, thumbnails, () => {
    filters.apply(map.passes);
    map.filtered();
    count();
  });

  // --------------------------------------------------------------------------------- actions

  function open(image) {
    if (image < 0) return;
    details.showImage(image);
    map.resize(); // the details may have taken some of its place
    map.goTo(image, true);
    say(`${images.names[image]}, group ${images.groups[image]}, score ${inShort(images.scores[image])}`);
  }

  function visit(image) {
    map.goTo(image);
    if (details.isOpen) details.showImage(image);
    say(`${images.names[image]}, group ${images.groups[image]}`);
  }

  function toggle(image) {
    if (image < 0) return;
    map.toggle(image);
    count();
    say(`${images.names[image]} ${map.selected[image] ? "selected" : "not selected"}`);
  }

  function pick(chosen, isMore) {
    map.select(chosen, isMore);
    map.current = -1;
    if (map.numSelected) details.showMany(selectedImages());
    else details.close();
    count();
  }

  function hover(image, x, y) {
    const tip = byId("tip");
    map.canvas.style.cursor = map.isLasso ? "crosshair" : image >= 0 ? "pointer" : "";
    tip.hidden = image < 0;
    if (image < 0) return;
    tip.textContent = images.names[image];
    tip.style.left = `${Math.min(x + 14, Math.max(0, map.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > map.height ? y - tip.offsetHeight - 8 : y + 18}px`;
  }

  // What Escape does: the innermost thing that is open goes.
  function back() {
    if (map.path) map.endLasso(false);
    else if (document.body.classList.contains("with-filters")) showFilters(false);
    else if (details.isOpen) {
      details.close();
      map.current = -1;
      map.draw();
    } else if (map.isLasso) lasso();
    else if (map.numSelected) pick([], false);
    map.canvas.focus();
  }

  function lasso() {
    map.isLasso = !map.isLasso;
    byId("lasso").setAttribute("aria-pressed", String(map.isLasso));
    map.canvas.style.cursor = map.isLasso ? "crosshair" : "";
    say(map.isLasso ? "Lasso on: draw around images" : "Lasso off");
  }

  function showFilters(isOn) {
    document.body.classList.toggle("with-filters", isOn);
    byId("open-filters").setAttribute("aria-expanded", String(isOn));
    (isOn ? byId("close-filters") : byId("open-filters")).focus();
  }

  // ------------------------------------------------------------------------------ what is chosen

  function selectedImages() {
    const chosen = [];
    map.selected.forEach((isSelected, image) => { if (isSelected) chosen.push(image); });
    return chosen;
  }

  function count() {
    const all = images.number > images.shown
      ? `${inWords(images.shown)} images (drawn from ${inWords(images.number)})`
      : `${inWords(images.shown)} images`;
    const shown = map.numPassing < images.shown ? `${inWords(map.numPassing)} of ${all} shown` : all;
    byId("count").textContent = shown + (map.numSelected ? `, ${inWords(map.numSelected)} selected` : "");
    const number = map.numSelected || map.numPassing;
    const what = map.numSelected ? "selected" : map.numPassing < images.shown ? "shown" : "all";
    byId("copy").textContent = `Copy the list (${what === "all" ? "all" : `${inWords(number)} ${what}`})`;
    byId("copy").disabled = !number;
    byId("clear").hidden = !map.numSelected;
  }

  byId("copy").addEventListener("click", async () => {
    const isIn = map.numSelected ? map.selected : map.passes;
    const names = images.names.filter((_, image) => isIn[image]);
    if (await copyNames(names)) {
      byId("copy").textContent = `${inWords(names.length)} names copied`;
      say(`${inWords(names.length)} names copied`);
      setTimeout(count, 2000);
    }
  });
  byId("clear").addEventListener("click", () => pick([], false));

  // ------------------------------------------------------------------------------------ buttons

  byId("zoom-in").addEventListener("click", () => map.zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => map.zoomBy(1 / 1.5));
  byId("fit").addEventListener("click", () => map.fit());
  byId("lasso").addEventListener("click", lasso);
  byId("colour").addEventListener("change", (event) => map.colourBy(event.target.value));
  byId("help").addEventListener("click", () => byId("shortcuts").showModal());
  byId("open-filters").addEventListener("click", () => showFilters(!document.body.classList.contains("with-filters")));
  byId("close-filters").addEventListener("click", () => showFilters(false));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  byId("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
    map.draw();
  });
  dark.addEventListener("change", () => map.draw());
  byId("name").addEventListener("keydown", (event) => {
    if (event.key === "Enter") map.canvas.focus();
  });
  listenForKeys(map, { open, toggle, visit, lasso, back });

  // ---------------------------------------------------------------------------------- the start

  count();
  thumbnails.load(() => {
    map.draw();
    filters.drawGroups();
  }).then(() => document.documentElement.classList.add("loaded"));
})();
