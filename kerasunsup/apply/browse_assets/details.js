"use strict";
// One image with its neighbours, or the selected ones; copying of names.

const LISTED = 120; // selected images that are shown side by side
const LARGE = 256, SMALL = 64; // pixels

class Details {
  constructor(images, thumbnails, events) {
    this.images = images;
    this.thumbnails = thumbnails;
    this.events = events; // open(image), toggle(image), close(), isSelected(image)
    this.place = document.getElementById("details");
    this.title = document.getElementById("details-title");
    this.one = document.getElementById("one");
    this.list = document.getElementById("list");
    document.getElementById("close-details").addEventListener("click", () => events.close());
  }

  get isOpen() {
    return !this.place.hidden;
  }

  close() {
    this.place.hidden = true;
  }

  // Shows one image, what is known of it and its neighbours.
  showImage(image) {
    const { images } = this;
    this.place.hidden = false;
    this.title.textContent = images.names[image];
    const facts = element("dl");
    const add = (name, text) => facts.append(element("dt", name), element("dd", text));
    add("Group", String(images.groups[image]));
    add("Score", inShort(images.scores[image]));
    const width = images.sizes[2 * image], height = images.sizes[2 * image + 1];
    if (width) add("Size", `${width} × ${height} pixels`);
    for (const [flag, value] of Object.entries(images.values[image] ?? {})) {
      add("Flag", flag.replaceAll("_", " ") + (value && `: ${value}`));
    }
    const buttons = element("div", "", { class: "row" });
    const select = element("button", this.events.isSelected(image) ? "Deselect" : "Select");
    select.addEventListener("click", () => {
      this.events.toggle(image);
      select.textContent = this.events.isSelected(image) ? "Deselect" : "Select";
    });
    buttons.append(select);
    const address = addressOf(images, image);
    if (address !== null) {
      buttons.append(element("a", "Open the file", { href: address, target: "_blank", rel: "noopener" }));
    }
    this.one.replaceChildren(this.picture(image, address), facts, buttons);
    const nearest = [...neighborsOf(images, image)];
    this.fill(nearest.length ? "Nearest images" : "", nearest);
    this.place.scrollTop = 0;
  }

  // The thumbnail, enlarged; then the file itself, if it still lies where it lay.
  picture(image, address) {
    const frame = element("div", "", { class: "large" });
    if (this.thumbnails.sizes !== null) frame.append(pictureOf(this.thumbnails, image, LARGE));
    if (address !== null) {
      const file = element("img", "", { alt: "" });
      file.addEventListener("load", () => {
        if (Math.max(file.naturalWidth, file.naturalHeight) < LARGE) file.classList.add("small");
        frame.replaceChildren(file);
      });
      file.src = address;
    }
    return frame;
  }

  // Shows many images side by side.
  showMany(chosen) {
    this.place.hidden = false;
    const number = chosen.length.toLocaleString("en");
    this.title.textContent = chosen.length === 1 ? "1 image selected" : `${number} images selected`;
    this.one.replaceChildren();
    this.fill(chosen.length > LISTED ? `The first ${LISTED}` : "", chosen.slice(0, LISTED));
    this.place.scrollTop = 0;
  }

  fill(title, chosen) {
    document.getElementById("list-title").textContent = title;
    const items = chosen.map((image) => {
      const name = this.images.names[image];
      const button = element("button", "", { title: name, "aria-label": name });
      if (this.thumbnails.sizes !== null) button.append(pictureOf(this.thumbnails, image, SMALL));
      else button.textContent = name;
      button.addEventListener("click", () => {
        this.events.open(image);
        this.title.focus(); // the button is gone
      });
      const item = element("li");
      item.append(button);
      return item;
    });
    this.list.replaceChildren(...items);
  }
}

// Puts names on the clipboard, a line each; where that is refused, shows them marked.
async function copyNames(names) {
  const text = names.join("\n");
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const dialog = document.getElementById("names");
    const area = dialog.querySelector("textarea");
    area.value = text;
    dialog.showModal();
    area.select();
    return false;
  }
}
