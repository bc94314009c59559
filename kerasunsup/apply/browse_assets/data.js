"use strict";
// The images' numbers out of the page, and the sheets of thumbnails.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

function arrayOf(base64, Type) {
  return new Type(bytesOf(base64).buffer);
}

// What `browse_page.py` wrote, with its arrays unpacked; every array has a value an image.
function readImages() {
  const element = document.getElementById("images");
  const given = JSON.parse(element.textContent);
  element.remove(); // a few megabytes
  const places = arrayOf(given.places, Float32Array);
  const number = given.names.length;
  const scores = arrayOf(given.scores, Float32Array);
  return {
    ...given,
    shown: number,
    x: Float32Array.from({ length: number }, (_, image) => places[2 * image]),
    y: Float32Array.from({ length: number }, (_, image) => places[2 * image + 1]),
    groups: arrayOf(given.groups, Uint16Array),
    scores,
    sortedScores: Float32Array.from(scores).sort(),
    flags: arrayOf(given.flags, Uint16Array),
    sizes: arrayOf(given.sizes, Uint32Array),
    neighbors: arrayOf(given.neighbors, Uint32Array),
    lowercase: given.names.map((name) => name.toLowerCase()),
  };
}

// A score in a few characters.
function inShort(score) {
  return Math.abs(score) >= 1000 ? Math.round(score).toLocaleString("en") : score.toPrecision(3);
}

function neighborsOf(images, image) {
  const start = image * images.numNeighbors;
  return images.neighbors.subarray(start, start + images.numNeighbors);
}

// Where an image's file lies, as an address relative to the page; null where it is not known.
function addressOf(images, image) {
  if (images.root === null) return null;
  const strange = images.addresses[image];
  const parts = strange ?? images.names[image].split("/").map(encodeURIComponent).join("/");
  return images.root + parts;
}

class Thumbnails {
  constructor(images) {
    this.cell = images.cell ?? 0; // side of a thumbnail's place on its sheet, pixels
    this.perRow = images.perRow ?? 1;
    this.sizes = images.thumbnailSizes ? arrayOf(images.thumbnailSizes, Uint8Array) : null;
    this.sheets = [];
  }

  // Decodes sheet after sheet, beside the page's own work, and forgets the text of each.
  async load(onSheet) {
    for (const [at, element] of [...document.querySelectorAll("#sheets script")].entries()) {
      const blob = new Blob([bytesOf(element.textContent)]);
      element.remove();
      this.sheets[at] = await createImageBitmap(blob);
      onSheet();
    }
  }

  // Draws an image with its middle at a place and its longer side of some length; false where
  // there is no thumbnail, or not yet.
  draw(context, image, x, y, side) {
    if (this.sizes === null) return false;
    const sheet = this.sheets[Math.floor(image / this.perRow ** 2)];
    const height = this.sizes[2 * image], width = this.sizes[2 * image + 1];
    if (!sheet || !height) return false;
    const at = image % this.perRow ** 2;
    const left = (at % this.perRow) * this.cell, top = Math.floor(at / this.perRow) * this.cell;
    const scale = side / Math.max(width, height);
    const w = width * scale, h = height * scale;
    context.drawImage(sheet, left, top, width, height, x - w / 2, y - h / 2, w, h);
    return true;
  }
}
