// What a browser pays for live chunks, as fragmented MP4 through MediaSource or as JPEG frames on a canvas.
//
//   node live_transport.mjs FOLDER FRAMES_A_CHUNK
//
// FOLDER has 0.mp4, 0.pack, 1.mp4, ... as benchmarks/live_transport.py writes them. Prints JSON: milliseconds from the
// request for a chunk until its first frame is on the screen, and CPU seconds of the browser a second of playback.

import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { launch } from "./canvas.mjs";

const FPS = 16;
const TRIES = 10;
const CLOCK_TICKS = 100; // a second, in /proc
const [folder, chunkFrames] = process.argv.slice(2);
const chunks = readdirSync(folder).filter((name) => name.endsWith(".pack")).length;

const PAGE = `<canvas id=canvas></canvas><video id=video muted></video><script>
const FPS = ${FPS}, CHUNK = ${chunkFrames} / FPS, MIME = 'video/mp4; codecs="avc1.64001F"';
const bytes = async (name) => (await fetch(name)).arrayBuffer();
const screen = () => new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)));

async function player() {
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await new Promise((open) => source.addEventListener("sourceopen", open, { once: true }));
  const buffer = source.addSourceBuffer(MIME);
  return async (index) => {
    const data = await bytes(index + ".mp4");
    buffer.timestampOffset = index * CHUNK;
    buffer.appendBuffer(data);
    await new Promise((done) => buffer.addEventListener("updateend", done, { once: true }));
  };
}

async function frames(index) {
  const data = await bytes(index + ".pack"), count = new DataView(data).getUint32(0, true);
  const sizes = new Uint32Array(data, 4, count);
  let at = 4 + 4 * count;
  return Array.from(sizes, (size) => new Blob([data.slice(at, (at += size))], { type: "image/jpeg" }));
}

async function draw(blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

const first = {
  async mp4() {
    const add = await player(), began = performance.now();
    const seen = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    await add(0);
    await seen;
    return performance.now() - began;
  },
  async jpeg() {
    const began = performance.now();
    await draw((await frames(0))[0]);
    await screen();
    return performance.now() - began;
  },
};

const play = {
  async mp4(count) {
    const add = await player();
    await add(0);
    video.play();
    for (let index = 1; index < count; index++) {
      await new Promise((r) => setTimeout(r, 1000 * CHUNK));
      await add(index);
    }
    await new Promise((r) => setTimeout(r, 1000 * CHUNK));
  },
  async jpeg(count) {
    const began = performance.now();
    for (let index = 0; index < count; index++) {
      for (const [place, blob] of (await frames(index)).entries()) {
        const due = began + (1000 * (index * ${chunkFrames} + place)) / FPS;
        await new Promise((r) => setTimeout(r, Math.max(0, due - performance.now())));
        await draw(blob);
      }
    }
  },
};
</script>`;

const server = createServer((request, response) => {
  const name = request.url.slice(1);
  response.setHeader("Content-Type", name ? "application/octet-stream" : "text/html");
  response.end(name && /^\d+\.(mp4|pack)$/.test(name) ? readFileSync(join(folder, name)) : PAGE);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const result = {};
for (const kind of ["mp4", "jpeg"]) {
  const browser = await launch();
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const times = [];
  for (let index = 0; index < TRIES; index++) times.push(await page.evaluate((kind) => first[kind](), kind));
  const [cpu, began] = [browserSeconds(), performance.now()];
  await page.evaluate(([kind, chunks]) => play[kind](chunks), [kind, chunks]);
  const spent = (browserSeconds() - cpu) / ((performance.now() - began) / 1000);
  times.sort((a, b) => a - b);
  result[kind] = { version: browser.version(), first_frame_ms: round(times[TRIES >> 1]), worst_ms: round(times.at(-1)), cpu: round(spent) };
  await browser.close();
}
server.close();
console.log(JSON.stringify(result));

function round(number) {
  return Math.round(1000 * number) / 1000;
}

/** CPU seconds so far of this process's descendants. */
function browserSeconds() {
  const parents = new Map(), ticks = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
      parents.set(pid, fields[1]);
      ticks.set(pid, Number(fields[11]) + Number(fields[12]));
    } catch {} // it has ended
  }
  const ours = (pid) => pid !== undefined && (parents.get(pid) === String(process.pid) || ours(parents.get(pid)));
  return [...parents.keys()].filter(ours).reduce((sum, pid) => sum + ticks.get(pid), 0) / CLOCK_TICKS;
}
