// Clicks, keys and touches on a page of `apply browse` in headless Chromium, and its frame times.
//
//   npm install puppeteer-core          (in any folder; NODE_PATH names its node_modules)
//   node benchmarks/browse_clicks.js browsed/index.html shots [/usr/bin/chromium]
//
// Prints a line a check, writes a screenshot a step, and ends with status 1 if a check failed.
"use strict";
const fs = require("fs");
const path = require("path");
const puppeteer = require("puppeteer-core");

const [file, shots, chromium = "/usr/bin/chromium"] = process.argv.slice(2);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let numFailed = 0, page;

function check(what, isTrue, more = "") {
  console.log(isTrue ? "ok   " : "FAIL ", what, more);
  if (!isTrue) numFailed++;
}

const text = (selector) => page.$eval(selector, (element) => element.textContent);
const shot = (name) => page.screenshot({ path: path.join(shots, `${name}.png`) });
const isHidden = (selector) => page.$eval(selector, (element) => element.hidden);

async function opened(more = {}) {
  if (more.viewport) await page.setViewport(more.viewport);
  await page.goto(`file://${path.resolve(file)}`);
  await page.waitForSelector("html.loaded", { timeout: 60000 });
  await sleep(500);
}

// Drags and turns of the wheel, one a frame, while all frames are timed.
function frameTimes() {
  return page.evaluate(async () => {
    const canvas = document.getElementById("map"), place = canvas.getBoundingClientRect();
    const times = [];
    let last = performance.now(), isGoing = true;
    requestAnimationFrame(function tick() {
      times.push(performance.now() - last);
      last = performance.now();
      if (isGoing) requestAnimationFrame(tick);
    });
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const at = (x, y, more) => ({ clientX: place.x + x, clientY: place.y + y, bubbles: true, cancelable: true, view: window, ...more });
    const wheel = async (times_, deltaY) => {
      for (let turn = 0; turn < times_; turn++) {
        canvas.dispatchEvent(new WheelEvent("wheel", at(0.45 * place.width, 0.55 * place.height, { deltaY })));
        await frame();
      }
    };
    const drag = async () => {
      canvas.dispatchEvent(new MouseEvent("mousedown", at(300, 300)));
      for (let step = 0; step < 30; step++) {
        window.dispatchEvent(new MouseEvent("mousemove", at(300 + 6 * step, 300 + 3 * step)));
        await frame();
      }
      window.dispatchEvent(new MouseEvent("mouseup", at(480, 390)));
    };
    await drag();
    await wheel(60, -30);
    await drag();
    await wheel(40, -30);
    await drag();
    await wheel(100, 30);
    isGoing = false;
    times.sort((one, other) => one - other);
    const share = (part) => Number(times[Math.floor(part * (times.length - 1))].toFixed(1));
    return { frames: times.length, median: share(0.5), most_of_95: share(0.95), worst: share(1) };
  });
}

async function middleOfMap() {
  const box = await (await page.$("#map")).boundingBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

async function clicksAndKeys() {
  await page.focus("#map");
  await page.keyboard.press("ArrowRight"); // the image in the middle
  await page.keyboard.press("Enter");
  await sleep(600);
  const first = await text("#details-title");
  check("Enter shows an image", first.length > 0, first);
  await page.keyboard.press("Escape");
  await sleep(300);
  const [x, y] = await middleOfMap();
  for (let at = 0; at < 100 && (await isHidden("#details")); at++) {
    await page.mouse.click(x - 200 + 40 * (at % 10), y - 200 + 40 * Math.floor(at / 10));
  }
  await sleep(500);
  check("a click shows an image", !(await isHidden("#details")), await text("#details-title"));
  await shot("details");
  const button = await page.$("#list button");
  const name = await button.evaluate((element) => element.getAttribute("aria-label"));
  await button.click();
  await sleep(600);
  check("a click on a neighbour goes there", (await text("#details-title")) === name, name);
  await page.focus("#map");
  await page.keyboard.press("ArrowRight");
  await sleep(400);
  check("an arrow goes on", (await text("#details-title")) !== name, await text("#details-title"));
  await page.keyboard.press("Space");
  check("Space selects", (await text("#count")).includes("1 selected"), await text("#count"));
  await page.keyboard.press("Escape");
  check("Escape closes", await isHidden("#details"));
  await page.keyboard.press("Escape");
  check("Escape clears the selection", !(await text("#count")).includes("selected"));
  await page.keyboard.press("0");
  await sleep(500);
  await page.keyboard.press("/");
  check("/ goes to the search", await page.evaluate(() => document.activeElement.id === "name"));
  await page.keyboard.type("no such name");
  await sleep(200);
  check("a name that no file has", (await text("#count")).startsWith("0 of"), await text("#count"));
  await page.keyboard.press("Escape");
  await sleep(200);
  check("Escape clears the search", !(await text("#count")).includes(" of "), await text("#count"));
}

async function lassoAndCopy() {
  const [x, y] = await middleOfMap();
  await page.keyboard.down("Shift");
  await page.mouse.move(x - 150, y - 150);
  await page.mouse.down();
  for (const [dx, dy] of [[150, -150], [150, 150], [-150, 150], [-160, -100]]) {
    await page.mouse.move(x + dx, y + dy, { steps: 5 });
  }
  await page.mouse.up();
  await page.keyboard.up("Shift");
  await sleep(400);
  const counted = await text("#count");
  check("a lasso selects", counted.includes("selected"), counted);
  await shot("lasso");
  const number = Number(counted.match(/([\d,]+) selected/)?.[1].replace(",", ""));
  await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error("refused")); });
  await page.click("#copy");
  await sleep(300);
  const marked = await page.$eval("#names textarea", (area) => area.value.slice(area.selectionStart, area.selectionEnd));
  check("copying falls back to marked text", marked.split("\n").length === number, number);
  await page.keyboard.press("Escape");
  await page.evaluate(() => { navigator.clipboard.writeText = async (copied) => { window.copied = copied; }; });
  await page.click("#copy");
  await sleep(200);
  check("copying", (await page.evaluate(() => window.copied.split("\n").length)) === number, await text("#copy"));
  await page.click("#clear");
}

async function filters() {
  await page.click("#groups li button");
  await sleep(200);
  check("one group", (await text("#count")).includes(" of "), await text("#count"));
  await page.$eval("#least", (slider) => {
    slider.value = 500;
    slider.dispatchEvent(new Event("input"));
  });
  check("the upper half of the scores", (await text("#count")).includes(" of "), await text("#count"));
  await page.click("#reset");
  const flag = await page.$("#flags input");
  if (flag) {
    await flag.click();
    await sleep(200);
    check("a flag", (await text("#count")).includes(" of "), await text("#count"));
    await shot("flag");
    await flag.click();
  }
  await page.click("#theme");
  await sleep(300);
  await shot("dark");
}

async function phone() {
  await opened({ viewport: { width: 390, height: 780, isMobile: true, hasTouch: true, deviceScaleFactor: 2 } });
  await shot("phone");
  const [x, y] = await middleOfMap();
  const session = await page.createCDPSession();
  const touch = (type, points) => session.send("Input.dispatchTouchEvent", {
    type, touchPoints: points.map(([dx, dy], id) => ({ x: x + dx, y: y + dy, id })),
  });
  await touch("touchStart", [[-20, 0], [20, 0]]);
  for (let step = 1; step <= 10; step++) {
    await touch("touchMove", [[-20 - 8 * step, 0], [20 + 8 * step, 0]]);
    await sleep(30);
  }
  await touch("touchEnd", []);
  await sleep(500);
  await shot("phone_pinched");
  for (let at = 0; at < 60 && (await isHidden("#details")); at++) {
    await page.touchscreen.tap(x - 150 + 30 * (at % 10), y - 100 + 40 * Math.floor(at / 10));
    await sleep(60);
  }
  await sleep(500);
  check("a tap shows an image", !(await isHidden("#details")), await text("#details-title"));
  await shot("phone_details");
  await page.tap("#close-details");
  await page.tap("#open-filters");
  await sleep(300);
  await shot("phone_filters");
  await page.tap("#close-filters");
  await page.tap("#fit");
  await sleep(500);
  await page.tap("#lasso");
  await touch("touchStart", [[-80, -80]]);
  for (const point of [[0, -90], [80, -80], [90, 0], [80, 80], [0, 90], [-80, 80], [-90, 0]]) {
    await touch("touchMove", [point]);
    await sleep(30);
  }
  await touch("touchEnd", []);
  await sleep(400);
  check("a lasso by touch", (await text("#count")).includes("selected"), await text("#count"));
  await shot("phone_lasso");
  check("nothing to scroll sideways", await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
}

(async () => {
  fs.mkdirSync(shots, { recursive: true });
  const browser = await puppeteer.launch({ executablePath: chromium, headless: true, args: ["--no-sandbox"] });
  page = await browser.newPage();
  const problems = [], elsewhere = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
  page.on("dialog", async (dialog) => { problems.push(dialog.message()); await dialog.dismiss(); });
  page.on("request", (request) => { if (!/^(file|data|blob):/.test(request.url())) elsewhere.push(request.url()); });
  const start = Date.now();
  await opened({ viewport: { width: 1280, height: 800 } });
  console.log(`opened in ${Date.now() - start - 500} ms: ${await text("#count")}`);
  await shot("start");
  console.log("milliseconds a frame:", JSON.stringify(await frameTimes()));
  await page.click("#fit");
  await sleep(600);
  await clicksAndKeys();
  await lassoAndCopy();
  await filters();
  await phone();
  check("nothing is asked for from elsewhere", !elsewhere.length, elsewhere.join(" "));
  check("no errors", !problems.length, problems.join("; "));
  await browser.close();
  process.exit(numFailed ? 1 : 0);
})();
