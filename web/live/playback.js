// Which frame is due when. Frames are shown one after the other, none twice and none left out: a screen that is late
// makes the video late, for a stream is waited for anyway.

export class Playback {
  constructor(frameRate) {
    this.interval = 1000 / frameRate;
    this.playing = true;
    this.next = 0; // the frame to be shown
    this.due = -Infinity; // not before this time, in ms
  }

  /** The frame to show now, or null; `ready` says whether a frame can be shown. */
  take(now, ready) {
    if (!this.playing || now < this.due || !ready(this.next)) return null;
    // One interval behind the last, so that the rate is right in the mean; after a wait, from now on.
    this.due = now - this.due > this.interval ? now + this.interval : this.due + this.interval;
    return this.next++;
  }

  /** Go on from this frame, at once. */
  seek(frame) {
    this.next = frame;
    this.due = -Infinity;
  }
}
