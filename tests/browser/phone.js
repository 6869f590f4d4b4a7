// One peer of tring in a browser: one call at a time, over tring's own protocol.
//
// - signalling: mqtt.js carries, delivery.js acknowledges, here it is understood
// - media: RTCPeerConnection; candidates trickle in both directions
// - out: onEvent({ event, … }), past facts named as the program names them; onRemote(stream)

import { Delivery, callTopic, presence, presenceTopic, randomHex } from "./delivery.js";
import { Mqtt } from "./mqtt.js";

// Candidates that overtook their offer are kept for so many calls.
const EARLY_CALLS_MAX = 8;

export class Phone {
  // `media()` gives the stream to send, `onConnection(connection)` is told of each new peer connection.
  constructor({ me, broker, user, password, media, codec, redFirst, iceServers, iceTransportPolicy, onEvent, onConnection }) {
    Object.assign(this, { me, media, codec, redFirst, iceServers, iceTransportPolicy, onEvent, onConnection });
    this.call = null;
    this.early = new Map(); // call id → candidates
    this.ended = new Set(); // calls that are over: a late offer does not ring again
    this.delivery = new Delivery({
      me,
      publish: (topic, text) => this.mqtt.publish(topic, text),
      onMessage: (from, call, message) => this.#received(from, call, message),
    });
    this.mqtt = new Mqtt({
      url: broker,
      clientId: me,
      user,
      password,
      filters: [callTopic("+", me)],
      will: { topic: presenceTopic(me), payload: presence("offline", this.delivery.run), retain: true },
      onUp: () => this.#online(),
      onDown: (reason) => this.onEvent({ event: "offline", reason }),
      onRefused: (reason) => this.onEvent({ event: "error", text: reason }),
      // Signalling is never retained: what is kept from yesterday is no call.
      onMessage: (topic, bytes, retained) => retained || this.delivery.receive(topic, bytes),
    });
  }

  start() {
    this.mqtt.connect();
  }

  async dial(peer) {
    if (this.call) return;
    const call = this.#begin(randomHex(16), peer, "dialing");
    await this.#guarded(call, async () => {
      await this.#open(call);
      await call.connection.setLocalDescription();
      this.#say(call, { type: "offer", sdp: call.connection.localDescription.sdp });
      this.#describe(call);
    });
  }

  async answer() {
    const call = this.call;
    if (call?.phase !== "incoming") return;
    call.phase = "connecting";
    this.onEvent({ event: "accepted", peer: call.peer });
    await this.#guarded(call, async () => {
      await this.#open(call);
      await this.#applyRemote(call, { type: "offer", sdp: call.offer.sdp });
      await call.connection.setLocalDescription();
      this.#say(call, { type: "answer", sdp: call.connection.localDescription.sdp });
      this.#describe(call);
    });
  }

  hangUp() {
    if (!this.call) return;
    const reason = { dialing: "cancel", ringing: "cancel", incoming: "decline" }[this.call.phase] ?? "hangup";
    this.#bye(reason);
  }

  #online() {
    this.#announce();
    this.delivery.resendAll();
    this.onEvent({ event: "online", id: this.me });
  }

  #announce() {
    this.mqtt.publish(presenceTopic(this.me), presence(this.call ? "busy" : "available", this.delivery.run), true);
  }

  // ---- signalling ----

  #received(from, id, message) {
    if (message.type === "offer") return this.#offered(from, id, message);
    const call = this.call;
    if (call?.id !== id || call.peer !== from) {
      if (message.type === "bye") this.ended.add(id);
      if (message.type === "candidates") this.#keepEarly(id, message.candidates);
      return;
    }
    switch (message.type) {
      case "ringing":
        if (call.phase !== "dialing") return;
        call.phase = "ringing";
        return this.onEvent({ event: "ringing", peer: from });
      case "answer":
        if (call.phase !== "dialing" && call.phase !== "ringing") return;
        call.phase = "connecting";
        this.onEvent({ event: "accepted", peer: from });
        call.candidates.push(...message.candidates ?? []);
        return this.#guarded(call, () => this.#applyRemote(call, { type: "answer", sdp: message.sdp }));
      case "candidates":
        return this.#guarded(call, () => this.#addCandidates(call, message.candidates));
      case "update":
        return this.#guarded(call, () => this.#answerUpdate(call, message));
      case "updated":
        if (message.revision !== call.revision) return;
        return this.#guarded(call, () => call.connection.setRemoteDescription({ type: "answer", sdp: message.sdp }));
      case "renew":
        return this.#guarded(call, () => this.#makeUpdate(call, message.generation));
      case "media":
        return this.onEvent({ event: "media", audio: message.audio, video: message.video, hold: message.hold });
      case "bye":
        return this.#end("remote", message.reason);
      default: // A message of a later version.
    }
  }

  #offered(from, id, offer) {
    if (this.ended.has(id) || this.call?.id === id) return;
    if (this.call) return this.delivery.send(from, id, { type: "bye", reason: "busy" });
    const call = this.#begin(id, from, "incoming");
    call.offer = offer;
    call.candidates.push(...offer.candidates ?? [], ...this.early.get(id) ?? []);
    this.#say(call, { type: "ringing" });
    this.onEvent({ event: "incoming", peer: from });
  }

  #keepEarly(id, candidates) {
    if (this.early.size < EARLY_CALLS_MAX && !this.ended.has(id)) {
      this.early.set(id, [...this.early.get(id) ?? [], ...candidates]);
    }
  }

  #begin(id, peer, phase) {
    // `candidates` of the other side wait for its description; ours wait for our own to be sent.
    this.call = { id, peer, phase, connection: null, candidates: [], gathered: [], described: false, revision: 0, generation: 0 };
    this.#announce();
    return this.call;
  }

  #say(call, message) {
    this.delivery.send(call.peer, call.id, message);
  }

  #bye(reason) {
    this.delivery.forget(this.call.id);
    this.#say(this.call, { type: "bye", reason });
    this.#end("local", reason);
  }

  #end(by, reason) {
    const call = this.call;
    this.call = null;
    this.ended.add(call.id);
    this.early.delete(call.id);
    this.delivery.forget(call.id);
    this.#announce();
    // Whoever listens may still read figures from the connection and closes it then.
    this.onEvent({ event: "ended", peer: call.peer, by, reason, connection: call.connection });
  }

  // What goes wrong in a call ends it; the other side is told.
  async #guarded(call, work) {
    try {
      await work();
    } catch (error) {
      this.onEvent({ event: "error", text: `${error.name}: ${error.message}` });
      if (this.call === call) this.#bye("failed");
    }
  }

  // ---- media ----

  async #open(call) {
    const connection = new RTCPeerConnection({ iceServers: this.iceServers, iceTransportPolicy: this.iceTransportPolicy });
    call.connection = connection;
    connection.onicecandidate = ({ candidate }) => this.#gathered(call, candidate);
    connection.onconnectionstatechange = () => this.#connectionState(call);
    this.onConnection(connection);
    const stream = await this.media();
    stream.getTracks().forEach((track) => connection.addTrack(track, stream));
    this.#preferCodec(connection);
    this.#preferRed(connection);
  }

  // Offers, or answers with, one video codec only.
  #preferCodec(connection) {
    if (!this.codec) return;
    const wanted = [`video/${this.codec}`, "video/rtx"].map((name) => name.toLowerCase());
    const codecs = RTCRtpReceiver.getCapabilities("video").codecs.filter((c) => wanted.includes(c.mimeType.toLowerCase()));
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === "video") transceiver.setCodecPreferences(codecs);
    }
  }

  // Sound with copies of earlier packets before plain Opus; the order says what is to be sent to us.
  #preferRed(connection) {
    if (!this.redFirst) return;
    const codecs = RTCRtpReceiver.getCapabilities("audio").codecs;
    const isRed = ({ mimeType }) => mimeType.toLowerCase() === "audio/red";
    const sorted = [...codecs.filter(isRed), ...codecs.filter((codec) => !isRed(codec))];
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === "audio") transceiver.setCodecPreferences(sorted);
    }
  }

  // Candidates that come before our description would overtake it.
  #gathered(call, candidate) {
    if (candidate && candidate.candidate === "") return;
    const candidates = candidate ? [toWire(candidate)] : [];
    if (call.described) this.#say(call, { type: "candidates", generation: call.generation, candidates });
    else call.gathered.push(candidates);
  }

  #describe(call) {
    call.described = true;
    call.gathered.forEach((candidates) => this.#say(call, { type: "candidates", candidates }));
  }

  // A new offer in the standing call: an ICE restart, or other media. Its caller makes it.
  async #answerUpdate(call, { revision, generation, sdp, candidates }) {
    if (revision <= call.revision) return;
    Object.assign(call, { revision, generation });
    await call.connection.setRemoteDescription({ type: "offer", sdp });
    await this.#addCandidates(call, candidates ?? []);
    await call.connection.setLocalDescription();
    this.#say(call, { type: "updated", revision, generation, sdp: call.connection.localDescription.sdp });
    this.onEvent({ event: "updated", revision, generation });
  }

  // The callee asks for one: because the path of a generation is broken, or for other media.
  async #makeUpdate(call, broken) {
    if (broken !== undefined && broken < call.generation) return;
    call.revision += 1;
    if (broken !== undefined) call.generation += 1;
    await call.connection.setLocalDescription(await call.connection.createOffer({ iceRestart: broken !== undefined }));
    const { revision, generation } = call;
    this.#say(call, { type: "update", revision, generation, sdp: call.connection.localDescription.sdp });
    this.onEvent({ event: "updated", revision, generation });
  }

  async #applyRemote(call, description) {
    await call.connection.setRemoteDescription(description);
    const waiting = call.candidates;
    call.candidates = null;
    await this.#addCandidates(call, waiting);
  }

  async #addCandidates(call, candidates) {
    if (call.candidates) return call.candidates.push(...candidates);
    for (const { candidate, mid, mline } of candidates) {
      await call.connection.addIceCandidate({ candidate, sdpMid: mid ?? null, sdpMLineIndex: mline ?? null });
    }
  }

  #connectionState(call) {
    if (this.call !== call) return;
    switch (call.connection.connectionState) {
      case "connected":
        if (call.phase === "active") return this.onEvent({ event: "reconnected" });
        call.phase = "active";
        return this.onEvent({ event: "connected", peer: call.peer });
      case "disconnected":
        return this.onEvent({ event: "reconnecting" });
      case "failed":
        return this.#bye("failed");
      default: // New, connecting and closed tell nothing.
    }
  }
}

const toWire = ({ candidate, sdpMid, sdpMLineIndex }) => ({ candidate, mid: sdpMid ?? undefined, mline: sdpMLineIndex ?? undefined });
