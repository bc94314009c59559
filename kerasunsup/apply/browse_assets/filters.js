"use strict";
// Groups, scores, flags and names that are shown.

const GROUP_PICTURE = 28; // pixels

// A small picture as an element of its own.
function pictureOf(thumbnails, image, side) {
  const canvas = document.createElement("canvas");
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * ratio);
  canvas.className = "picture";
  canvas.style.width = canvas.style.height = `${side}px`;
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = side < 2 * thumbnails.cell;
  thumbnails.draw(context, image, canvas.width / 2, canvas.height / 2, canvas.width);
  return canvas;
}

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text; // never as HTML: file names may hold anything
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function checkbox(id, isChecked, ...content) {
  const label = element("label");
  const box = element("input", "", { type: "checkbox", id });
  box.checked = isChecked;
  label.append(box, ...content);
  return [label, box];
}

function counts(values, number) {
  const found = new Uint32Array(number);
  for (const value of values) found[value]++;
  return found;
}

// The image of each group that is nearest to the middle of the group's images.
function middleOfGroups(images, number, sizes) {
  const sumX = new Float64Array(number), sumY = new Float64Array(number);
  images.groups.forEach((group, image) => {
    sumX[group] += images.x[image];
    sumY[group] += images.y[image];
  });
  const best = new Int32Array(number).fill(-1), least = new Float64Array(number).fill(Infinity);
  images.groups.forEach((group, image) => {
    const away = Math.hypot(images.x[image] - sumX[group] / sizes[group], images.y[image] - sumY[group] / sizes[group]);
    if (away < least[group]) [best[group], least[group]] = [image, away];
  });
  return best;
}

class Filters {
  constructor(images, thumbnails, onChange) {
    this.images = images;
    this.thumbnails = thumbnails;
    this.onChange = onChange;
    this.name = document.getElementById("name");
    this.least = document.getElementById("least");
    this.most = document.getElementById("most");
    this.buildGroups();
    this.buildFlags();
    this.listUnreadable();
    document.getElementById("compared").textContent =
      `How odd an image is, compared with ${images.comparedWith}.`;
    for (const input of [this.name, this.least, this.most]) input.addEventListener("input", () => this.changed());
    document.getElementById("all-groups").addEventListener("click", () => this.setGroups(true));
    document.getElementById("no-groups").addEventListener("click", () => this.setGroups(false));
    document.getElementById("reset").addEventListener("click", () => this.reset());
    this.writeScores();
  }

  buildGroups() {
    const number = this.images.groups.reduce((most, group) => Math.max(most, group), 0) + 1;
    const sizes = counts(this.images.groups, number);
    this.middles = middleOfGroups(this.images, number, sizes);
    this.groupBoxes = [];
    this.groupPictures = [];
    const list = element("ul");
    for (let group = 0; group < number; group++) {
      if (!sizes[group]) continue; // none of its images was drawn for the page
      const swatch = element("span", "", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = GROUP_COLOURS[group % GROUP_COLOURS.length];
      const picture = element("span");
      const size = element("span", sizes[group].toLocaleString("en"), { class: "size" });
      const [label, box] = checkbox(`group-${group}`, true, swatch, picture, ` Group ${group} `, size);
      box.addEventListener("change", () => this.changed());
      const only = element("button", "only", { "aria-label": `Only group ${group}` });
      only.addEventListener("click", () => this.setGroups(false, group));
      const item = element("li");
      item.append(label, only);
      list.append(item);
      this.groupBoxes[group] = box;
      this.groupPictures[group] = picture;
    }
    document.getElementById("groups").append(list);
  }

  // To be called when thumbnails came in.
  drawGroups() {
    if (this.thumbnails.sizes === null) return;
    this.groupPictures.forEach((place, group) =>
      place.replaceChildren(pictureOf(this.thumbnails, this.middles[group], GROUP_PICTURE)));
  }

  buildFlags() {
    this.flagBoxes = [];
    const place = document.getElementById("flags");
    this.images.flagNames.forEach((name, bit) => {
      const number = this.images.flags.reduce((sum, flags) => sum + ((flags >> bit) & 1), 0);
      if (!number) return;
      const size = element("span", number.toLocaleString("en"), { class: "size" });
      const [label, box] = checkbox(`flag-${name}`, false, ` ${name.replaceAll("_", " ")} `, size);
      box.addEventListener("change", () => this.changed());
      this.flagBoxes[bit] = box;
      place.append(label);
    });
    place.hidden = !this.flagBoxes.length;
  }

  listUnreadable() {
    const { unreadable } = this.images;
    const place = document.getElementById("unreadable");
    place.hidden = !unreadable.length;
    const files = unreadable.length === 1 ? "1 file" : `${unreadable.length.toLocaleString("en")} files`;
    place.querySelector("summary").textContent = `${files} could not be read`;
    const items = unreadable.map(([name, reason]) => element("li", `${name}: ${reason}`));
    place.querySelector("ul").append(...items);
  }

  setGroups(isOn, only = -1) {
    this.groupBoxes.forEach((box, group) => { box.checked = isOn || group === only; });
    this.changed();
  }

  reset() {
    this.name.value = "";
    this.least.value = 0;
    this.most.value = 1000;
    this.flagBoxes.forEach((box) => { box.checked = false; });
    this.setGroups(true);
  }

  // The score below which a part of the images lies that a slider stands for.
  scoreAt(slider) {
    const { sortedScores, shown } = this.images;
    return sortedScores[Math.round((Number(slider.value) / 1000) * (shown - 1))];
  }

  writeScores() {
    document.getElementById("least-value").textContent = inShort(this.scoreAt(this.least));
    document.getElementById("most-value").textContent = inShort(this.scoreAt(this.most));
  }

  changed() {
    this.writeScores();
    this.onChange();
  }

  // Writes for every image whether it is shown: 1 or 0.
  apply(passes) {
    const { images } = this;
    const words = this.name.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = this.flagBoxes.reduce((bits, box, bit) => bits | (box.checked ? 1 << bit : 0), 0);
    const inGroup = this.groupBoxes.map((box) => box.checked);
    const least = this.scoreAt(this.least), most = this.scoreAt(this.most);
    for (let image = 0; image < images.shown; image++) {
      const score = images.scores[image];
      passes[image] = Number(
        inGroup[images.groups[image]] && score >= least && score <= most
        && (!wanted || (images.flags[image] & wanted) !== 0)
        && words.every((word) => images.lowercase[image].includes(word)));
    }
  }
}
