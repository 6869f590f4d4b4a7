// Listens to every sample of a track: which test tones there are, and where sound is missing.

import { TONES_HZ } from "./media.js";

// Looked at in blocks of 5 ms: a block of the lowest tone has two periods, so that each has a peak.
const BLOCK_MS = 5;
// Below this peak it is silence; the test tone has 0.25.
const SILENCE = 0.03;
// Silence longer than this is a gap.
const GAP_MS = 40;
const TOLERANCE_HZ = 50;
// Blocks for one frequency.
const TONE_BLOCKS = 4;
// Pieces of 10 ms that may wait for a page that is kept from running.
const WAITING_MAX = 1000;

export class Ear {
  constructor(track) {
    this.ms = 0; // listened, from the first sound on, with silence
    this.silentMs = 0; // of these, silent up to now
    this.tones = []; // the steps in order, each change once
    this.gaps = []; // [atMs, lengthMs] of each silence longer than GAP_MS
    this.rest = [];
    this.piece = [];
    this.#listen(new MediaStreamTrackProcessor({ track, maxBufferSize: WAITING_MAX }).readable);
  }

  async #listen(readable) {
    for await (const data of readable) {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      this.rest.push(...samples);
      const block = data.sampleRate * BLOCK_MS / 1000;
      while (this.rest.length >= block) this.#block(this.rest.splice(0, block), data.sampleRate);
      data.close();
    }
  }

  #block(samples, rate) {
    if (Math.max(...samples) < SILENCE) {
      if (this.ms > 0) this.#silence();
      return;
    }
    this.ms += BLOCK_MS;
    this.silentMs = 0;
    this.piece.push(...samples);
    if (this.piece.length === TONE_BLOCKS * samples.length) {
      this.#tone(this.piece, rate);
      this.piece = [];
    }
  }

  #silence() {
    this.ms += BLOCK_MS;
    this.silentMs += BLOCK_MS;
    this.piece = [];
    this.last = undefined;
    if (this.silentMs <= GAP_MS) return;
    if (this.silentMs > GAP_MS + BLOCK_MS) this.gaps.pop();
    this.gaps.push([this.ms - this.silentMs, this.silentMs]);
  }

  #tone(samples, rate) {
    const ups = samples.flatMap((sample, n) => n > 0 && samples[n - 1] < 0 && sample >= 0 ? [n] : []);
    const hz = (ups.length - 1) * rate / (ups.at(-1) - ups[0]);
    const tone = TONES_HZ.find((tone) => Math.abs(tone - hz) < TOLERANCE_HZ);
    // A tone counts when two pieces in a row have it: where one follows another, both are in one.
    if (tone && tone === this.last && this.tones.at(-1) !== tone) this.tones.push(tone);
    this.last = tone;
  }

  figures() {
    return { ms: this.ms, tones: this.tones, gaps: this.gaps };
  }
}
