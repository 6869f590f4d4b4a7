// What the page sends, and how it judges what it receives.

import { Ear } from "./sound.js";
import { StampReader, drawStamp } from "./stamp.js";

const WIDTH = 640, HEIGHT = 480, FPS = 30;

// Test tones as tring has them: 400, 600, … 1800 Hz, half a second each, by the wall clock: a cycle begins where Unix
// time is a whole multiple of 4 s.
export const TONES_HZ = [400, 600, 800, 1000, 1200, 1400, 1600, 1800];
const TONE_S = 0.5;
const TONE_GAIN = 0.25;
const TONES_SCHEDULED = 7200; // an hour

// How often the received sound is looked at, and how loud a tone must be to count.
const LISTEN_MS = 100;
const TONE_DB_MIN = -45;

// Camera and microphone. Browsers give them to pages from https or this machine only.
export function camera() {
  if (!navigator.mediaDevices) throw new Error("no camera on an insecure page: open it by https or from this machine");
  const video = { width: WIDTH, height: HEIGHT, frameRate: FPS };
  return navigator.mediaDevices.getUserMedia({ video, audio: { echoCancellation: true } });
}

// A moving picture with tring's stamp, and tring's test tones: the other side can check both.
export function testPattern() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d", { alpha: false });
  let counter = 0;
  const draw = () => {
    const hue = counter % 360, angle = counter / 40;
    context.fillStyle = `hsl(${hue} 40% 35%)`;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    context.fillStyle = `hsl(${hue + 180} 70% 60%)`;
    context.beginPath();
    context.arc(WIDTH / 2 + 200 * Math.sin(angle), HEIGHT / 2 + 120 * Math.cos(angle), 60, 0, 2 * Math.PI);
    context.fill();
    drawStamp(context, WIDTH, counter, Date.now() % 2 ** 32);
    counter = counter + 1 & 0xffffff;
  };
  draw();
  setInterval(draw, 1000 / FPS);
  const stream = canvas.captureStream(FPS);
  tones().getAudioTracks().forEach((track) => stream.addTrack(track));
  return stream;
}

// The tones alone.
export function tones() {
  const audio = new AudioContext();
  const oscillator = audio.createOscillator();
  const gain = new GainNode(audio, { gain: TONE_GAIN });
  const out = audio.createMediaStreamDestination();
  oscillator.connect(gain).connect(out);
  oscillator.start();
  // Only a clock that runs says when a step is due; what the browser buffers after it counts as latency.
  audio.resume().then(() => {
    const now = Date.now() / 1000;
    const first = Math.floor(now / TONE_S);
    for (let n = 0; n < TONES_SCHEDULED; n++) {
      const at = audio.currentTime + Math.max(0, (first + n) * TONE_S - now);
      oscillator.frequency.setValueAtTime(TONES_HZ[(first + n) % TONES_HZ.length], at);
    }
  });
  return out.stream;
}

// Watches what a peer connection receives, from the first picture to the end.
export class Judge {
  constructor(connection, video, onFirstFrame, onFirstAudio) {
    Object.assign(this, { connection, video, onFirstFrame, onFirstAudio });
    this.reader = new StampReader();
    this.sampled = 0; // pictures looked at
    this.stamped = 0; // of these, with a readable stamp
    this.inOrder = 0; // of these, newer than the one before
    this.repeated = 0; // of these, the same as the one before: the browser drew before it told
    this.latencies = [];
    this.tones = []; // test tones heard, each change of tone once
    this.#nextPicture();
  }

  // Sound arrives in `stream`; `closely`: every sample of it is looked at.
  listen(stream, closely) {
    if (closely) this.ear = new Ear(stream.getAudioTracks()[0]);
    const audio = new AudioContext();
    const analyser = new AnalyserNode(audio, { fftSize: 4096, smoothingTimeConstant: 0 });
    audio.createMediaStreamSource(stream).connect(analyser);
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    const binHz = audio.sampleRate / analyser.fftSize;
    this.listening = setInterval(() => {
      analyser.getFloatFrequencyData(spectrum);
      const peak = spectrum.reduce((best, level, bin) => level > spectrum[best] ? bin : best, 0);
      if (spectrum[peak] < TONE_DB_MIN) return;
      if (!this.heard) this.onFirstAudio();
      this.heard = true;
      const tone = TONES_HZ.find((hz) => Math.abs(peak * binHz - hz) < 2 * binHz);
      if (tone && this.tones.at(-1) !== tone) this.tones.push(tone);
    }, LISTEN_MS);
  }

  stop() {
    this.stopped = true;
    clearInterval(this.listening);
  }

  #nextPicture() {
    this.video.requestVideoFrameCallback(() => {
      if (this.stopped) return;
      this.#look();
      this.#nextPicture();
    });
  }

  #look() {
    this.sampled += 1;
    if (this.sampled === 1) this.onFirstFrame(this.video.videoWidth, this.video.videoHeight);
    const stamp = this.reader.read(this.video);
    if (!stamp) return;
    this.stamped += 1;
    if (stamp.counter === this.last) {
      this.repeated += 1;
      return;
    }
    if (this.last === undefined || stamp.counter > this.last) this.inOrder += 1;
    this.last = stamp.counter;
    // Both clocks wrap at 2^32 ms; the difference as a signed number is the shorter way round.
    this.latencies.push((Date.now() - stamp.sentMs) | 0);
  }

  // Everything measured; unknown figures are null.
  async figures() {
    const reports = [...(await this.connection.getStats()).values()];
    const find = (type, kind) => reports.find((report) => report.type === type && report.kind === kind) ?? {};
    const codec = (report) => reports.find((other) => other.id === report.codecId)?.mimeType ?? null;
    const [video, audio] = [find("inbound-rtp", "video"), find("inbound-rtp", "audio")];
    const [sentVideo, sentAudio] = [find("outbound-rtp", "video"), find("outbound-rtp", "audio")];
    // Chromium names the pair that is in use here alone.
    const transport = reports.find((report) => report.type === "transport") ?? {};
    const pair = reports.find((report) => report.id === transport.selectedCandidatePairId) ?? {};
    const local = reports.find((report) => report.id === pair.localCandidateId) ?? {};
    const sorted = this.latencies.toSorted((a, b) => a - b);
    return {
      path: { local: local.candidateType ?? null, relayProtocol: local.relayProtocol ?? null },
      video: {
        codec: codec(video),
        width: this.video.videoWidth,
        height: this.video.videoHeight,
        decoded: video.framesDecoded ?? 0,
        lost: video.packetsLost ?? null,
        freezes: video.freezeCount ?? null,
        sampled: this.sampled,
        stamped: this.stamped,
        inOrder: this.inOrder,
        repeated: this.repeated,
        latencyMs: sorted[sorted.length >> 1] ?? null,
      },
      audio: {
        codec: codec(audio),
        packets: audio.packetsReceived ?? 0,
        lost: audio.packetsLost ?? null,
        // Samples that were made up, and all that were played.
        concealed: audio.concealedSamples ?? null,
        samples: audio.totalSamplesReceived ?? null,
        // Of payload, with copies of earlier packets.
        bytes: audio.bytesReceived ?? null,
        tones: this.tones,
        heard: this.ear?.figures() ?? null,
      },
      sent: {
        video: codec(sentVideo),
        frames: sentVideo.framesEncoded ?? 0,
        nacks: sentVideo.nackCount ?? null,
        plis: sentVideo.pliCount ?? null,
        width: sentVideo.frameWidth ?? null,
        audio: codec(sentAudio),
        packets: sentAudio.packetsSent ?? 0,
      },
    };
  }
}
