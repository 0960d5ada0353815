import assert from "node:assert/strict";
import { test } from "node:test";
import { ChunkCache } from "../../web/live/chunk_cache.js";
import { unpack } from "../../web/live/frame_pack.js";

function packed(...files) {
  const bytes = new Uint8Array(4 + 4 * files.length + files.join("").length);
  new Uint32Array(bytes.buffer, 0, 1 + files.length).set([files.length, ...files.map((file) => file.length)]);
  bytes.set(new TextEncoder().encode(files.join("")), 4 + 4 * files.length);
  return bytes.buffer;
}

test("a pack gives its files back", async () => {
  const blobs = unpack(packed("one", "", "three"));
  assert.deepEqual(await Promise.all(blobs.map((blob) => blob.text())), ["one", "", "three"]);
  assert.equal(blobs[0].type, "image/jpeg");
  assert.deepEqual(unpack(packed()), []);
});

test("bytes that are no pack are refused", () => {
  const good = packed("one", "two");
  const huge = new Uint32Array([0xffffffff]).buffer;
  for (const bad of [new ArrayBuffer(0), new ArrayBuffer(3), good.slice(0, 9), good.slice(0, -1), huge]) {
    assert.throws(() => unpack(bad), RangeError);
  }
});

const chunk = (size) => [{ size }];

test("the cache keeps to its bytes, and the chunks used last", async () => {
  const asked = [];
  const cache = new ChunkCache(async (index) => (asked.push(index), chunk(10)), 30);
  for (const index of [0, 1, 2, 0, 3]) await cache.fetch(index);
  assert.equal(cache.bytes, 30);
  assert.deepEqual(asked, [0, 1, 2, 3]);
  assert.equal(cache.get(1), null); // 0 was used after it
  assert.ok(cache.get(0) && cache.get(2) && cache.get(3));
});

test("an hour of video takes no more than a minute", async () => {
  const cache = new ChunkCache(async () => chunk(600_000), 2 ** 25);
  for (let index = 0; index < 4800; index++) await cache.fetch(index);
  assert.ok(cache.bytes <= 2 ** 25 && cache.kept.size > 50 && cache.kept.size < 60);
});

test("a chunk larger than the cache can still be shown", async () => {
  const cache = new ChunkCache(async () => chunk(100), 30);
  await cache.fetch(0);
  await cache.fetch(1);
  assert.ok(cache.get(1));
  assert.equal(cache.get(0), null);
});

test("a chunk asked for twice at once is fetched once, and again after it failed", async () => {
  let tries = 0;
  const cache = new ChunkCache(async () => {
    if (++tries === 1) throw new Error("gone");
    return chunk(1);
  });
  const results = await Promise.allSettled([cache.fetch(7), cache.fetch(7)]);
  assert.deepEqual(results.map(({ status }) => status), ["rejected", "rejected"]);
  assert.equal(tries, 1);
  assert.deepEqual(await cache.fetch(7), chunk(1));
});
