// One end of a call of libwebrtc (@roamhq/wrtc), sound alone: peer.js HEARD; see peer.py beside it.
'use strict';
const { RTCPeerConnection, nonstandard } = require('@roamhq/wrtc');
const fs = require('fs');

const RATE = 48000, PART = RATE / 100;
const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n');
const now = () => (performance.timeOrigin + performance.now()) / 1000;

// 10 ms each leave when they are due.
class Mouth {
  constructor(connection) {
    this.source = new nonstandard.RTCAudioSource();
    connection.addTrack(this.source.createTrack());
    Object.assign(this, { start: now(), parts: 0, said: null, from: 0 });
    this.timer = setInterval(() => this.send(), 2);
  }

  speak(path) {
    const content = fs.readFileSync(path);
    this.said = new Int16Array(content.buffer, content.byteOffset, content.length >> 1);
    this.from = this.parts;
    tell({ spoken: this.start + this.from / 100 });
  }

  send() {
    for (; this.start + (this.parts + 1) / 100 <= now(); this.parts++) {
      const samples = new Int16Array(PART), at = (this.parts - this.from) * PART;
      if (this.said) samples.set(this.said.subarray(at, at + PART));
      this.source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: PART });
    }
  }
}

// What libwebrtc plays, 10 ms at a time by its own clock.
class Ear {
  constructor(path) {
    Object.assign(this, { path, parts: [], chunks: [], count: 0 });
  }

  take(track) {
    if (track.kind !== 'audio') return;
    this.sink = new nonstandard.RTCAudioSink(track);
    this.sink.ondata = ({ samples, sampleRate, channelCount }) => {
      const ratio = RATE / sampleRate, frames = samples.length / channelCount;
      const mono = new Int16Array(frames * ratio);
      for (let n = 0; n < mono.length; n++) mono[n] = samples[Math.floor(n / ratio) * channelCount];
      this.parts.push(Buffer.from(mono.buffer));
      this.count += mono.length;
      this.chunks.push([now(), this.count]);
    };
  }

  finish() {
    fs.writeFileSync(this.path, Buffer.concat(this.parts));
    tell({ heard: this.chunks });
  }
}

const ear = new Ear(process.argv[2]);
const connection = new RTCPeerConnection();
const mouth = new Mouth(connection);
connection.ontrack = ({ track }) => ear.take(track);
connection.onconnectionstatechange = () => connection.connectionState === 'connected' && tell({ connected: {} });

async function describe(description) {
  await connection.setLocalDescription(description);
  if (connection.iceGatheringState !== 'complete') {
    await new Promise((done) => { connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && done(); });
  }
  const { type, sdp } = connection.localDescription;
  tell({ description: { type, sdp } });
}

async function report() {
  for (const stats of (await connection.getStats()).values()) {
    if (stats.type !== 'inbound-rtp' || stats.kind !== 'audio') continue;
    const samples = stats.concealedSamples - (stats.silentConcealedSamples || 0);
    tell({ concealed: samples / (RATE / 50), at: now() });
  }
}
setInterval(report, 250);

require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const { speak, finish, offer, description } = JSON.parse(line);
  if (speak) mouth.speak(speak);
  else if (finish) ear.finish();
  else if (offer) describe(await connection.createOffer());
  else {
    await connection.setRemoteDescription(description);
    if (description.type === 'offer') describe(await connection.createAnswer());
  }
}).on('close', () => process.exit());
