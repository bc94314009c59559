"use strict";
// The map: drawing, zoom, which image is under a pointer, lasso.

// Okabe and Ito's colours and others that are told apart on white and on black.
const GROUP_COLOURS = [
  "#4c8bf5", "#e8710a", "#12a182", "#d93f87", "#8f6ae0", "#b98a00",
  "#0aa5c2", "#dd4b39", "#5d9e26", "#a86a4a", "#7a8a99", "#c25cd6",
];
const SCORE_COLOURS = ["#6d8fae", "#8aa08f", "#b0a35a", "#d59a2a", "#ee7b22", "#e4432d"];
const LEAST_THUMBNAIL = 11; // pixels on the screen; smaller ones are points
const FEW = 1500; // thumbnails that any machine draws in time while the map moves
const SLOW = 24; // milliseconds of a drawing; slower ones draw points while the map moves
const MARGIN = 24; // pixels around the whole map

class ImageMap {
  constructor(canvas, images, thumbnails, events) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.images = images;
    this.thumbnails = thumbnails;
    this.events = events; // open(image), pick(images, isMore), hover(image, x, y)
    this.passes = new Uint8Array(images.shown).fill(1); // the filters
    this.selected = new Uint8Array(images.shown);
    this.numSelected = 0;
    this.current = -1;
    this.isLasso = false;
    this.path = null; // of the lasso that is being drawn, on the screen
    this.transform = d3.zoomIdentity;
    this.colourBy("group");
    this.filtered();
    this.listenForZoom();
    this.listenForPointers();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  // ---------------------------------------------------------------------------------- places

  // Takes the size that the page gives the map; what was in the middle stays there.
  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === this.width && height === this.height && this.ratio === window.devicePixelRatio) return;
    const before = this.width && this.transform !== d3.zoomIdentity
      ? [this.placeAt(this.width / 2, this.height / 2), this.transform.k * this.scale] : null;
    this.ratio = window.devicePixelRatio;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    const spanX = Math.max(largestOf(this.images.x), 1e-6), spanY = Math.max(largestOf(this.images.y), 1e-6);
    this.scale = Math.max(1, Math.min((width - 2 * MARGIN) / spanX, (height - 2 * MARGIN) / spanY));
    this.left = (width - spanX * this.scale) / 2;
    this.top = (height - spanY * this.scale) / 2;
    this.width = width;
    this.height = height;
    const beyond = [[-width / 2, -height / 2], [1.5 * width, 1.5 * height]];
    this.zoom.extent([[0, 0], [width, height]]).translateExtent(beyond);
    this.zoom.scaleExtent([0.7, Math.max(30, (4 * 96) / this.spacing())]);
    if (before) this.zoom.transform(this.selection, this.around(...before[0], before[1] / this.scale));
    this.drawNow(); // at once: a canvas of another size is empty
  }

  // Where on the map, each way from 0 to 1, a place on the screen is.
  placeAt(x, y) {
    const [mapX, mapY] = this.transform.invert([x, y]);
    return [(mapX - this.left) / this.scale, (mapY - this.top) / this.scale];
  }

  // The view with a place of the map in its middle.
  around(x, y, k) {
    const middle = d3.zoomIdentity.translate(this.width / 2, this.height / 2);
    return middle.scale(k).translate(-this.left - x * this.scale, -this.top - y * this.scale);
  }

  // About how far apart images lie on the unzoomed screen, pixels: those that pass the filters lie
  // closer together than if they filled it, but further apart than all do.
  spacing() {
    const number = Math.sqrt(Math.max(1, this.numPassing) * this.images.shown);
    return (Math.min(this.width, this.height) - 2 * MARGIN) / Math.sqrt(number);
  }

  // The longer side of thumbnails on the screen, pixels.
  side() {
    const largest = Math.max(64, 1.5 * this.thumbnails.cell);
    return Math.min(largest, 0.95 * this.spacing() * this.transform.k);
  }

  screenX(image) {
    return this.transform.applyX(this.left + this.images.x[image] * this.scale);
  }

  screenY(image) {
    return this.transform.applyY(this.top + this.images.y[image] * this.scale);
  }

  // The image at a place on the screen, or -1.
  at(x, y) {
    const reach = Math.max(8, 0.6 * this.side()) / this.transform.k / this.scale;
    return this.tree.find(...this.placeAt(x, y), reach) ?? -1;
  }

  // ------------------------------------------------------------------------------- what is shown

  // To be called after `passes` changed.
  filtered() {
    const { x, y } = this.images;
    const passing = [];
    for (let image = 0; image < this.images.shown; image++) if (this.passes[image]) passing.push(image);
    this.numPassing = passing.length;
    this.tree = d3.quadtree(passing, (image) => x[image], (image) => y[image]);
    if (this.zoom) this.draw();
  }

  colourBy(what) {
    const { groups, scores, sortedScores, shown } = this.images;
    this.colours = what === "group" ? GROUP_COLOURS : SCORE_COLOURS;
    const steps = SCORE_COLOURS.length;
    // Half of the images are usual, and each further colour stands for half of what is left.
    const limits = Array.from({ length: steps - 1 }, (_, step) =>
      sortedScores[Math.min(shown - 1, Math.floor(shown * (1 - 0.5 ** (step + 1))))]);
    this.colourOf = Uint8Array.from({ length: shown }, (_, image) => what === "group"
      ? groups[image] % GROUP_COLOURS.length
      : limits.filter((limit) => scores[image] > limit).length);
    const order = Uint32Array.from({ length: shown }, (_, image) => image);
    this.byColour = order.sort((one, other) => this.colourOf[one] - this.colourOf[other] || one - other);
    if (this.zoom) this.draw();
  }

  select(images, isMore = false) {
    if (!isMore) this.selected.fill(0);
    for (const image of images) this.selected[image] = 1;
    this.numSelected = this.selected.reduce((sum, one) => sum + one, 0);
    this.draw();
  }

  toggle(image) {
    this.selected[image] ^= 1;
    this.numSelected += this.selected[image] ? 1 : -1;
    this.draw();
  }

  // ----------------------------------------------------------------------------------- drawing

  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.drawNow();
    });
  }

  drawNow() {
    const { context } = this;
    const style = getComputedStyle(this.canvas);
    const side = this.side();
    const inView = this.inView(side);
    const isBusy = this.isMoving && this.isSlow && inView.length > FEW;
    const isOfPoints = side < LEAST_THUMBNAIL || this.thumbnails.sizes === null || isBusy;
    this.drawPoints(isOfPoints ? inView : [], side, style);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (!isOfPoints) {
      const start = performance.now();
      this.drawThumbnails(inView, side);
      this.isSlow = performance.now() - start > SLOW;
    }
    context.globalAlpha = 1;
    this.drawMarks(inView, side, style.getPropertyValue("--mark"));
    if (this.path) this.drawLasso(style.getPropertyValue("--mark"));
  }

  // Images that pass the filters and can be seen, in the order of their colours.
  inView(side) {
    const { k, x, y } = this.transform, { images, passes, byColour } = this;
    const scale = k * this.scale, left = x + k * this.left, top = y + k * this.top;
    const found = [];
    for (const image of byColour) {
      if (!passes[image]) continue;
      const sx = left + images.x[image] * scale, sy = top + images.y[image] * scale;
      if (sx > -side && sy > -side && sx < this.width + side && sy < this.height + side) found.push(image);
    }
    return found;
  }

  // The ground, faint points of images that do not pass the filters, and points of others. They are
  // written into the pixels: fifty thousand rectangles take the browser several times as long.
  drawPoints(inView, side, style) {
    const { width, height } = this.canvas;
    if (this.pixels?.width !== width || this.pixels.height !== height) {
      this.pixels = new ImageData(Math.max(1, width), Math.max(1, height));
      this.words = new Uint32Array(this.pixels.data.buffer);
    }
    const ground = style.getPropertyValue("--ground").trim();
    this.words.fill(wordOf(ground));
    if (this.numPassing < this.images.shown) {
      const faint = wordOf(style.getPropertyValue("--faint").trim());
      for (let image = 0; image < this.images.shown; image++) if (!this.passes[image]) this.point(image, 2, faint);
    }
    const words = this.colours.map((colour) => wordOf(colour));
    const pale = this.colours.map((colour) => wordOf(colour, ground));
    const length = Math.min(8, Math.max(3, 0.6 * side));
    for (const image of inView) {
      const isPale = this.numSelected && !this.selected[image];
      this.point(image, length, (isPale ? pale : words)[this.colourOf[image]]);
    }
    this.context.putImageData(this.pixels, 0, 0);
  }

  point(image, length, word) {
    const { width, height } = this.pixels;
    const long = Math.round(length * this.ratio);
    const left = Math.round(this.screenX(image) * this.ratio - long / 2);
    const top = Math.round(this.screenY(image) * this.ratio - long / 2);
    const from = Math.max(0, left), to = Math.min(width, left + long);
    if (from >= to) return;
    const end = Math.min(height, top + long);
    for (let row = Math.max(0, top); row < end; row++) this.words.fill(word, row * width + from, row * width + to);
  }

  drawThumbnails(inView, side) {
    const { context } = this;
    const border = side >= 40 ? 2 : side >= 22 ? 1 : 0;
    context.imageSmoothingEnabled = side < 1.5 * this.thumbnails.cell;
    inView.sort((one, other) => one - other); // which of two lies above stays the same
    for (const image of inView) {
      const x = this.screenX(image), y = this.screenY(image);
      context.globalAlpha = this.numSelected && !this.selected[image] ? 0.35 : 1;
      const isDrawn = this.thumbnails.draw(context, image, x, y, side - 2 * border);
      const colour = this.colours[this.colourOf[image]];
      if (!isDrawn) {
        context.fillStyle = colour;
        context.fillRect(x - 3, y - 3, 6, 6);
      } else if (border) {
        this.outline(image, side - border, colour, border);
      }
    }
  }

  // A line around an image, as wide and high as its thumbnail is.
  outline(image, side, colour, thickness) {
    const sizes = this.thumbnails.sizes;
    const height = sizes ? sizes[2 * image] : 1, width = sizes ? sizes[2 * image + 1] : 1;
    const longer = Math.max(width, height, 1);
    const w = side * (width / longer || 1), h = side * (height / longer || 1);
    this.context.strokeStyle = colour;
    this.context.lineWidth = thickness;
    this.context.strokeRect(this.screenX(image) - w / 2, this.screenY(image) - h / 2, w, h);
  }

  drawMarks(inView, side, colour) {
    const length = Math.max(8, side);
    if (this.numSelected && side >= LEAST_THUMBNAIL) {
      for (const image of inView) if (this.selected[image]) this.outline(image, length, colour, 2);
    }
    if (this.current < 0) return;
    const x = this.screenX(this.current), y = this.screenY(this.current);
    const larger = Math.max(48, 1.25 * length);
    this.thumbnails.draw(this.context, this.current, x, y, larger);
    this.outline(this.current, larger + 2, "#ffffff", 2); // seen on dark pictures,
    this.outline(this.current, larger + 7, colour, 4); // and on light ones
  }

  drawLasso(colour) {
    const { context, path } = this;
    context.beginPath();
    for (const [x, y] of path) context.lineTo(x, y);
    context.closePath();
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2;
    context.stroke();
    context.globalAlpha = 0.15;
    context.fill();
    context.globalAlpha = 1;
  }

  // ------------------------------------------------------------------------------------- moving

  listenForZoom() {
    this.zoom = d3.zoom()
      .filter((event) => event.type === "wheel" || (!this.isLasso && !event.shiftKey && !event.button))
      .on("start", () => {
        clearTimeout(this.atRest);
        this.isMoving = true;
      })
      .on("zoom", (event) => {
        this.transform = event.transform;
        this.draw();
      })
      .on("end", () => {
        this.atRest = setTimeout(() => { // the wheel may only have paused
          this.isMoving = false;
          this.draw();
        }, 150);
      });
    this.selection = d3.select(this.canvas).call(this.zoom).on("dblclick.zoom", null);
  }

  // The canvas, about to move within some time; at once for those who asked for less motion.
  moving(milliseconds = 250) {
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    return isStill ? this.selection : this.selection.transition().duration(milliseconds);
  }

  zoomBy(factor) {
    const isInView = this.current >= 0 && this.isVisible(this.current);
    const middle = isInView ? [this.screenX(this.current), this.screenY(this.current)] : undefined;
    this.zoom.scaleBy(this.moving(150), factor, middle);
  }

  moveBy(x, y) {
    this.zoom.translateBy(this.moving(120), x / this.transform.k, y / this.transform.k);
  }

  fit() {
    this.zoom.transform(this.moving(), d3.zoomIdentity);
  }

  isVisible(image) {
    const x = this.screenX(image), y = this.screenY(image);
    return x > 20 && y > 20 && x < this.width - 20 && y < this.height - 20;
  }

  // Marks an image, and brings it into view; near enough to see it, if that is wanted.
  goTo(image, isNear = false) {
    this.current = image;
    this.draw();
    if (this.isVisible(image) && !(isNear && this.side() < 32)) return;
    const k = isNear ? Math.max(this.transform.k, 40 / this.spacing()) : this.transform.k;
    const there = this.around(this.images.x[image], this.images.y[image], k);
    this.zoom.transform(this.moving(), there);
  }

  // ------------------------------------------------------------------------- pointers and lasso

  listenForPointers() {
    const { canvas } = this;
    const place = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("click", (event) => {
      if (event.shiftKey || this.isLasso) return;
      const image = this.at(...place(event));
      if (event.ctrlKey || event.metaKey) this.events.toggle(image);
      else this.events.open(image);
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button || !(this.isLasso || event.shiftKey)) return;
      canvas.setPointerCapture(event.pointerId);
      this.path = [place(event)];
      this.isMore = event.ctrlKey || event.metaKey;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.path) {
        this.path.push(place(event));
        this.draw();
      } else if (event.pointerType === "mouse") {
        this.events.hover(event.buttons ? -1 : this.at(...place(event)), ...place(event));
      }
    });
    canvas.addEventListener("pointerleave", () => this.events.hover(-1, 0, 0));
    canvas.addEventListener("pointerup", () => this.endLasso(true));
    canvas.addEventListener("pointercancel", () => this.endLasso(false));
  }

  endLasso(isDone) {
    const path = this.path;
    this.path = null;
    if (isDone && path && path.length > 2) this.events.pick(this.within(path), this.isMore);
    if (path) this.draw();
  }

  // Images that pass the filters, within a closed path on the screen.
  within(path) {
    const found = [];
    for (let image = 0; image < this.images.shown; image++) {
      if (this.passes[image] && isWithin(path, this.screenX(image), this.screenY(image))) found.push(image);
    }
    return found;
  }
}

// A colour "#rrggbb" as a pixel of ImageData; mixed into another one where that is given.
function wordOf(colour, into = colour) {
  const channel = (at) => {
    const own = parseInt(colour.slice(at, at + 2), 16), other = parseInt(into.slice(at, at + 2), 16);
    return Math.round(0.35 * own + 0.65 * other);
  };
  return ((255 << 24) | (channel(5) << 16) | (channel(3) << 8) | channel(1)) >>> 0;
}

function largestOf(values) {
  let largest = 0;
  for (const value of values) if (value > largest) largest = value;
  return largest;
}

// Whether a line from a point to the right crosses the path an odd number of times.
function isWithin(path, x, y) {
  let isIn = false;
  for (let at = 0, before = path.length - 1; at < path.length; before = at++) {
    const [x1, y1] = path[at], [x2, y2] = path[before];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) isIn = !isIn;
  }
  return isIn;
}
