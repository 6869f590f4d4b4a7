// One end of a call of libwebrtc (@roamhq/wrtc): peer.js offer|answer
//
// Standard input and output are the signalling: a description a line, with all its candidates. The offering end offers
// on each line {"offer": true}. Both tell {"connected": {ice_ms, dtls_ms}}, and every 250 ms what they received:
// pictures as [Unix ms, latency in ms or null], steps of the tone as [Unix ms, latency in ms], seconds of invented sound.
'use strict';
const { RTCPeerConnection, nonstandard } = require('@roamhq/wrtc');

const WIDTH = 640, HEIGHT = 480, FPS = 30, RATE = 48000, BITS = 64, ROW = 32, STEP_MS = 500;
const TONES = [400, 600, 800, 1000, 1200, 1400, 1600, 1800];
const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n');
const now = () => performance.timeOrigin + performance.now();

// ---- what is sent ----

function crc8(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80 ? (crc << 1) ^ 7 : crc << 1) & 0xff;
  }
  return crc;
}

// Grainy pictures with a bright square to come, like the test pattern of tring.
const GRAINS = Array.from({ length: 8 }, () => {
  const picture = new Uint8ClampedArray(WIDTH * HEIGHT * 3 / 2).fill(128);
  for (let n = 0; n < WIDTH * HEIGHT; n++) picture[n] = 40 + 110 * n / (WIDTH * HEIGHT) + Math.random() * 8 - 4;
  return picture;
});

function draw(number) {
  const picture = GRAINS[Math.random() * GRAINS.length | 0].slice();
  const left = Math.round(260 + 190 * Math.sin(number / 600 * 2 * Math.PI));
  for (let y = 220; y < 340; y++) picture.fill(222, y * WIDTH + left, y * WIDTH + left + 120);
  const stamp = Buffer.alloc(8);
  stamp.writeUIntBE(number % 2 ** 24, 0, 3);
  stamp.writeUInt32BE(Math.floor(now()) % 2 ** 32, 3);
  stamp[7] = crc8(stamp.subarray(0, 7));
  const block = WIDTH / ROW;
  for (let n = 0; n < BITS; n++) {
    const luma = stamp[n >> 3] >> (7 - n % 8) & 1 ? 235 : 16;
    for (let y = (n / ROW | 0) * block; y < ((n / ROW | 0) + 1) * block; y++) {
      picture.fill(luma, y * WIDTH + n % ROW * block, y * WIDTH + (n % ROW + 1) * block);
    }
  }
  return picture;
}

// Pictures and 10 ms of tone each leave when they are due. The tone follows the wall clock.
class Sender {
  constructor(connection) {
    this.video = new nonstandard.RTCVideoSource();
    this.audio = new nonstandard.RTCAudioSource();
    connection.addTrack(this.audio.createTrack());
    connection.addTrack(this.video.createTrack());
    this.start = now();
    this.pictures = 0;
    this.sounds = Math.floor(now() / 10);
    this.timer = setInterval(() => this.send(), 3);
  }

  send() {
    const due = Math.floor((now() - this.start) * FPS / 1000);
    if (due >= this.pictures) {
      this.pictures = due + 1;
      this.video.onFrame({ width: WIDTH, height: HEIGHT, data: draw(due) });
    }
    for (; (this.sounds + 1) * 10 <= now(); this.sounds++) {
      const samples = new Int16Array(RATE / 100), at = this.sounds * 10;
      const hertz = TONES[Math.floor(at / STEP_MS) % TONES.length];
      for (let n = 0; n < samples.length; n++) {
        samples[n] = 8000 * Math.sin(2 * Math.PI * hertz * (at % STEP_MS / 1000 + n / RATE));
      }
      this.audio.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: samples.length });
    }
  }
}

// ---- what is received ----

function sentMs({ width, height, data }) {
  const stamp = Buffer.alloc(8);
  const block = Math.floor(width / ROW);
  for (let n = 0; n < BITS; n++) {
    const row = n / ROW | 0, left = Math.floor(n % ROW * width / ROW), right = Math.floor((n % ROW + 1) * width / ROW);
    const quarter = (right - left) >> 2;
    let sum = 0, count = 0;
    for (let x = left + quarter; x < right - quarter; x++, count++) sum += data[(row * block + (block >> 1)) * width + x];
    const mean = sum / count;
    if (mean > 80 && mean < 170) return null;
    stamp[n >> 3] |= (mean >= 170) << (7 - n % 8);
  }
  return crc8(stamp.subarray(0, 7)) === stamp[7] ? stamp.readUInt32BE(3) : null;
}

// The step of the tone in some ms of sound, or null.
function toneOf(samples, rate) {
  const ups = [];
  for (let n = 1; n < samples.length; n++) {
    if (samples[n - 1] < 0 && samples[n] >= 0) ups.push(n - samples[n] / (samples[n] - samples[n - 1]));
  }
  if (ups.length < 3) return null;
  const hertz = (ups.length - 1) * rate / (ups.at(-1) - ups[0]);
  const tone = TONES.findIndex((tone) => Math.abs(tone - hertz) < 60);
  return tone < 0 ? null : tone;
}

class Receiver {
  constructor() {
    Object.assign(this, { pictures: [], steps: [], width: 0, tone: null });
  }

  take(track) {
    if (track.kind === 'video') {
      this.video = new nonstandard.RTCVideoSink(track);
      this.video.onframe = ({ frame }) => {
        const sent = sentMs(frame);
        this.width = frame.width;
        this.pictures.push([now(), sent === null ? null : (Math.floor(now()) - sent) % 2 ** 32]);
      };
    } else {
      this.audio = new nonstandard.RTCAudioSink(track);
      this.audio.ondata = ({ samples, sampleRate }) => this.hear(toneOf(samples, sampleRate));
    }
  }

  // A step counts where it follows the one before it; 10 ms in which both sound have neither tone.
  hear(tone) {
    if (tone === null) return;
    if (this.tone !== null && tone === (this.tone + 1) % TONES.length) {
      const cycle = STEP_MS * TONES.length, late = (now() - 10 - tone * STEP_MS) % cycle;
      this.steps.push([now(), late > 3000 ? late - cycle : late]);
    }
    this.tone = tone;
  }

  async report(connection) {
    let invented = 0;
    for (const stats of (await connection.getStats()).values()) {
      if (stats.type === 'inbound-rtp' && stats.kind === 'audio') {
        invented = stats.concealedSamples / (stats.totalSamplesReceived / stats.totalSamplesDuration || RATE);
      }
    }
    tell({ t: now(), pictures: this.pictures, steps: this.steps, width: this.width, invented_s: invented });
    Object.assign(this, { pictures: [], steps: [] });
  }
}

// ---- the call ----

class Call {
  constructor() {
    this.connection = new RTCPeerConnection();
    this.sender = new Sender(this.connection);
    this.receiver = new Receiver();
    this.connection.ontrack = ({ track }) => this.receiver.take(track);
    this.connection.oniceconnectionstatechange = () => {
      if (/connected|completed/.test(this.connection.iceConnectionState)) this.path ??= now();
    };
    this.connection.onconnectionstatechange = () => this.state();
    this.timer = setInterval(() => this.receiver.report(this.connection), 250);
  }

  state() {
    if (this.connection.connectionState !== 'connected') return;
    this.path ??= now();
    tell({ connected: { ice_ms: this.path - this.described, dtls_ms: now() - this.path } });
  }

  async describe(description) {
    await this.connection.setLocalDescription(description);
    if (this.connection.iceGatheringState !== 'complete') {
      await new Promise((done) => { this.connection.onicegatheringstatechange = () => this.connection.iceGatheringState === 'complete' && done(); });
    }
    const { type, sdp } = this.connection.localDescription;
    this.described = now();
    tell({ description: { type, sdp } });
  }

  async take(description) {
    this.described = now();
    await this.connection.setRemoteDescription(description);
    if (description.type === 'offer') await this.describe(await this.connection.createAnswer());
  }

  close() {
    clearInterval(this.timer);
    clearInterval(this.sender.timer);
    this.receiver.video?.stop();
    this.receiver.audio?.stop();
    this.connection.close();
  }
}

let call = null;
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const { offer, description } = JSON.parse(line);
  if (offer || description.type === 'offer') {
    call?.close();
    call = new Call();
  }
  await (offer ? call.describe(await call.connection.createOffer()) : call.take(description));
}).on('close', () => process.exit());
