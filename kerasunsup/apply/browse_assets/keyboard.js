"use strict";
// The keys of the map.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MOVED = 80; // pixels that Shift and an arrow move the map

// The nearest image that passes the filters in a direction: within 45 degrees of it.
function nextImage(map, [stepX, stepY]) {
  const { x, y, shown } = map.images;
  let best = -1, least = Infinity;
  for (let image = 0; image < shown; image++) {
    if (!map.passes[image] || image === map.current) continue;
    const dx = x[image] - x[map.current], dy = y[image] - y[map.current];
    const along = dx * stepX + dy * stepY, across = Math.abs(dx * stepY - dy * stepX);
    if (along <= 0 || across > along) continue;
    const far = along + 2 * across;
    if (far < least) [best, least] = [image, far];
  }
  return best;
}

// The image from which the arrows start: the one nearest to the middle of the view.
function imageInTheMiddle(map) {
  return map.tree.find(...map.placeAt(map.width / 2, map.height / 2)) ?? -1;
}

function listenForKeys(map, actions) {
  const step = (key, isShift) => {
    const [x, y] = STEPS[key];
    if (isShift) return map.moveBy(-x * MOVED, -y * MOVED);
    const isStart = map.current < 0 || !map.passes[map.current];
    const image = isStart ? imageInTheMiddle(map) : nextImage(map, STEPS[key]);
    if (image >= 0) actions.visit(image);
  };
  const keys = {
    "+": () => map.zoomBy(1.5), "=": () => map.zoomBy(1.5),
    "-": () => map.zoomBy(1 / 1.5), _: () => map.zoomBy(1 / 1.5),
    0: () => map.fit(), l: actions.lasso,
    Enter: () => actions.open(map.current), " ": () => actions.toggle(map.current),
  };
  map.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in STEPS) step(event.key, event.shiftKey);
    else if (Object.hasOwn(keys, event.key)) keys[event.key]();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const isTyping = event.target.matches("input[type=search], textarea, select");
    if (event.key === "Escape" && isTyping && event.target.value) return; // clears the field
    if (event.key === "Escape") actions.back();
    else if (event.key === "/" && !isTyping) document.getElementById("name").select();
    else if (event.key === "?" && !isTyping) document.getElementById("shortcuts").showModal();
    else return;
    event.preventDefault();
  });
}
