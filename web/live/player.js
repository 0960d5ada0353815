// The player on a node: the picture, the timeline, what the stream costs, and what can be asked of it.

import { word } from "../common/words.js";
import { ChunkCache } from "./chunk_cache.js";
import { unpack } from "./frame_pack.js";
import { Playback } from "./playback.js";
import { Timeline, promptAt } from "./timeline.js";
import { buildView } from "./view.js";
import { clockTime, figures, refusal, standing } from "./words.js";

const AHEAD = 6; // frames decoded before they are due
const RETRY_MS = 1000; // after a chunk did not come

export class Player {
  /** paint: (canvas, frame) => puts a frame, an ImageBitmap, on the player's canvas. */
  constructor(protocol, paint = paintWhole) {
    this.protocol = protocol;
    this.paint = paint;
    this.view = buildView();
    this.element = this.view.root;
    this.state = null;
    this.visible = true;
    this.listen();
    this.observer = new IntersectionObserver(([entry]) => this.see(entry.isIntersecting));
    this.observer.observe(this.element);
    this.resizes = new ResizeObserver(() => this.drawTimeline());
    this.resizes.observe(this.view.marks);
  }

  /** Take news of the stream, or another stream; `live` begins that with what is newest. */
  update(state, live = false) {
    const isNew = state.id !== this.state?.id;
    if (isNew) this.open(state);
    this.state = state;
    this.timeline = new Timeline(state.runs, state.first_chunk);
    if (isNew && live && this.timeline.chunks) this.playback.seek(this.timeline.edge);
    if (this.playback.next < this.timeline.firstFrame) this.playback.seek(this.timeline.firstFrame);
    this.describe();
    this.wake();
  }

  /** The server does not know the stream any more: it has been started anew, or has made room. */
  lose() {
    if (this.state.status === "running") this.state = { ...this.state, status: "failed" };
    this.say(word("live.gone"));
  }

  /** End for good: the node is gone. */
  destroy() {
    this.forgetBitmaps();
    this.state = null;
    this.observer.disconnect();
    this.resizes.disconnect();
    cancelAnimationFrame(this.request);
    clearTimeout(this.retry);
    this.element.remove();
  }

  open(state) {
    this.forgetBitmaps();
    this.cache = new ChunkCache(async (chunk) => unpack(await this.protocol.chunk(state, chunk)));
    this.playback = new Playback(state.frame_rate);
    this.shown = -1; // the frame on the screen
    this.moved = false; // whether it is to be another one, which has not come yet
    this.notice = "";
    this.missed = false; // whether the notice is of a chunk that did not come
    [this.view.canvas.width, this.view.canvas.height] = [state.width, state.height];
    this.view.frame.style.aspectRatio = `${state.width} / ${state.height}`;
  }

  // Frames.

  /** Decoded frames by number; a promise where one is being decoded. */
  bitmaps = new Map();

  see(visible) {
    this.visible = visible;
    if (visible) this.wake();
  }

  wake() {
    cancelAnimationFrame(this.request);
    if (this.state && this.visible) this.request = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    if (!this.state) return;
    this.decodeAhead();
    const frame = this.playback.take(now, (frame) => this.bitmaps.get(frame) instanceof ImageBitmap);
    if (frame !== null) this.show(frame);
    if (this.playback.playing && this.playback.next < this.timeline.frames) this.wake();
    else if (this.state.status !== "running" && this.playback.next >= this.timeline.frames) this.pause();
  }

  show(frame) {
    const bitmap = this.bitmaps.get(frame);
    this.paint(this.view.canvas, bitmap);
    this.shown = frame;
    this.moved = false;
    this.view.empty.hidden = true;
    for (const old of this.bitmaps.keys()) if (old <= frame) this.dropBitmap(old);
    this.followPosition();
    this.element.dispatchEvent(new CustomEvent("frameshown", { detail: frame }));
  }

  /** Decode the next frames, which fetches their chunks. */
  decodeAhead() {
    const next = this.playback.next;
    const last = Math.min(next + (this.playback.playing ? AHEAD : 1), this.timeline.frames);
    for (const frame of this.bitmaps.keys()) if (frame < next || frame >= next + AHEAD) this.dropBitmap(frame);
    for (let frame = next; frame < last; frame++) if (!this.bitmaps.has(frame)) this.decode(frame);
  }

  async decode(frame) {
    const { chunk, index } = this.timeline.locate(frame);
    const bitmaps = this.bitmaps;
    const promise = this.cache.fetch(chunk).then((blobs) => createImageBitmap(blobs[index]));
    bitmaps.set(frame, promise);
    try {
      const bitmap = await promise;
      if (bitmaps.get(frame) === promise && this.bitmaps === bitmaps) bitmaps.set(frame, bitmap);
      else bitmap.close(); // nobody waits for it any more
      if (this.missed) this.found();
    } catch (error) {
      if (bitmaps.get(frame) === promise) this.miss(frame, chunk, error);
    }
    if (!this.playback.playing) this.showWhenPaused();
    else this.wake();
  }

  /** A chunk did not come: try again as long as the video is made, else leave it to the people. */
  miss(frame, chunk, error) {
    this.missed = true;
    this.say(word("live.chunk_missed", { chunk, reason: error.message }));
    if (this.state?.status === "running") {
      this.retry = setTimeout(() => (this.bitmaps.delete(frame), this.wake()), RETRY_MS);
    } else {
      this.bitmaps.delete(frame);
      if (this.state) this.pause();
    }
  }

  found() {
    this.missed = false;
    this.say("");
  }

  /** A paused player shows the frame that it was moved to, once. */
  showWhenPaused() {
    const frame = this.playback.next;
    if (this.moved && this.bitmaps.get(frame) instanceof ImageBitmap) this.show(frame);
  }

  dropBitmap(frame) {
    const bitmap = this.bitmaps.get(frame);
    if (bitmap instanceof ImageBitmap) bitmap.close();
    this.bitmaps.delete(frame);
  }

  forgetBitmaps() {
    for (const frame of [...this.bitmaps.keys()]) this.dropBitmap(frame);
    this.bitmaps = new Map();
  }

  // What people do.

  listen() {
    const { play, live, scrub, stop, form, text } = this.view;
    play.addEventListener("click", () => (this.playback?.playing ? this.pause() : this.play()));
    live.addEventListener("click", () => this.goLive());
    scrub.addEventListener("input", () => this.goTo(Number(scrub.value)));
    scrub.addEventListener("keydown", (event) => {
      if (event.key === " ") [event.preventDefault(), play.click()];
    });
    stop.addEventListener("click", () => this.ask(() => this.protocol.stop(this.state)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(async () => {
        const state = await this.protocol.changePrompt(this.state, text.value);
        text.value = "";
        return state;
      });
    });
    text.addEventListener("input", () => this.describePromptBox());
  }

  play() {
    if (this.playback.next >= this.timeline.frames && this.state.status !== "running") {
      this.playback.seek(this.timeline.firstFrame);
    }
    this.playback.playing = true;
    this.describe();
    this.wake();
  }

  pause() {
    this.playback.playing = false;
    this.describe();
  }

  goLive() {
    this.goTo(this.timeline.edge);
    this.play();
  }

  goTo(frame) {
    this.forgetBitmaps();
    this.playback.seek(this.timeline.clamp(frame));
    this.moved = true;
    this.followPosition();
    this.wake();
  }

  async ask(action) {
    const id = this.state.id;
    try {
      const state = await action();
      this.say("");
      if (this.state?.id === id && state.revision > this.state.revision) this.update(state);
    } catch (error) {
      this.say(error.message);
    }
  }

  // What it says.

  say(notice) {
    this.notice = notice;
    this.describe();
  }

  describe() {
    if (!this.state) return;
    const { play, live, stop, scrub, status, numbers, notice, empty } = this.view;
    const { state, timeline } = this;
    const running = state.status === "running";
    play.setIcon(this.playback.playing ? "pause" : "play");
    play.disabled = !timeline.frames;
    live.hidden = !running;
    live.disabled = !timeline.frames;
    stop.hidden = !running;
    stop.disabled = state.stopping;
    scrub.disabled = !timeline.frames;
    scrub.min = timeline.firstFrame;
    scrub.max = Math.max((running && state.frames) || timeline.frames, 1) - 1;
    status.textContent = standing(state, timeline.chunks);
    status.dataset.status = state.status;
    numbers.textContent = figures(state).join(" · ");
    const broken = state.broken && word("live.broken", { reason: state.broken });
    notice.textContent = this.notice || broken || state.prompt_refused || "";
    notice.hidden = !notice.textContent;
    empty.textContent = word(timeline.frames || running ? "live.waiting" : "live.nothing_finished");
    empty.hidden = this.shown >= 0;
    this.describePromptBox();
    this.followPosition();
  }

  describePromptBox() {
    const { form, text, send, why, asked } = this.view;
    const { no_prompt_box: refused, prompt_asked: prompt } = this.state;
    form.hidden = this.state.status !== "running";
    text.disabled = Boolean(refused);
    why.textContent = refused ? refusal(refused) : "";
    why.hidden = form.hidden || !refused;
    send.disabled = Boolean(refused) || !text.value.trim();
    asked.textContent = prompt ? word("live.prompt_asked", { prompt }) : "";
    asked.hidden = !asked.textContent;
  }

  followPosition() {
    const { time, scrub, prompt } = this.view;
    const { state, timeline } = this;
    const frame = Math.max(0, this.moved ? this.playback.next : this.shown);
    const end = state.status === "running" && state.frames ? state.frames : timeline.frames;
    scrub.value = frame;
    const seconds = (frames) => clockTime(frames / state.frame_rate, true);
    time.textContent = `${seconds(Math.min(frame + 1, end))} / ${seconds(end)}`;
    const at = timeline.locate(frame);
    const chunk = at ? at.chunk : 0;
    scrub.setAttribute("aria-valuetext", word("live.time_and_chunk", { time: time.textContent, chunk }));
    const words = promptAt(state.prompts, chunk) ?? word("live.prompt_unknown");
    if (prompt.textContent !== words) prompt.textContent = prompt.title = words;
    prompt.hidden = !words;
    this.drawTimeline();
  }

  drawTimeline() {
    if (this.state) this.view.drawMarks(this.timeline, this.state, this.shown);
  }
}

function paintWhole(canvas, frame) {
  canvas.getContext("2d").drawImage(frame, 0, 0, canvas.width, canvas.height);
}
