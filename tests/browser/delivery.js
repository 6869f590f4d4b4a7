// Gets call messages across: the envelope, acknowledgement, sending again, removal of duplicates.
//
// - out: send(to, call, message) publishes until the other side acknowledges or EXPIRY_MS have passed
// - in: receive(topic, bytes) acknowledges every call message and hands each out once: onMessage(from, call, message)

const VERSION = 1;
const RESEND_FIRST_MS = 1000;
const RESEND_MAX_MS = 4000;
const EXPIRY_MS = 60_000;
const SEEN_MAX = 4096;

export class Delivery {
  // `publish(topic, text)` may fail silently: what is not acknowledged goes out again.
  constructor({ me, publish, onMessage }) {
    Object.assign(this, { me, publish, onMessage });
    this.run = randomHex(8);
    this.count = 0;
    this.outbox = new Map(); // message id → { envelope, call, timer }
    this.seen = new Set(); // "from id", oldest first
  }

  send(to, call, message) {
    const envelope = this.#envelope(to, { call, ...message });
    const pending = { envelope, call, expiresAt: Date.now() + EXPIRY_MS };
    this.outbox.set(envelope.id, pending);
    this.#transmit(pending, RESEND_FIRST_MS);
  }

  // The broker is back: what it may have lost goes out again.
  resendAll() {
    for (const pending of this.outbox.values()) {
      clearTimeout(pending.timer);
      this.#transmit(pending, RESEND_FIRST_MS);
    }
  }

  // Of a call that is over only the bye matters.
  forget(call) {
    for (const [id, pending] of this.outbox) {
      if (pending.call === call && pending.envelope.type !== "bye") this.#drop(id);
    }
  }

  receive(topic, bytes) {
    const { v, id, from, to, ts, call, ...message } = parse(bytes);
    // A peer speaks only on its own topics: whoever signs as another is not believed.
    if (v !== VERSION || to !== this.me || topic !== callTopic(from, to)) return;
    if (message.type === "ack") return this.#acknowledged(from, message.of);
    this.publish(callTopic(this.me, from), JSON.stringify(this.#envelope(from, { type: "ack", of: id })));
    const key = `${from} ${id}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    if (this.seen.size > SEEN_MAX) this.seen.delete(this.seen.values().next().value);
    this.onMessage(from, call, message);
  }

  #acknowledged(from, id) {
    if (this.outbox.get(id)?.envelope.to === from) this.#drop(id);
  }

  #drop(id) {
    clearTimeout(this.outbox.get(id).timer);
    this.outbox.delete(id);
  }

  #transmit(pending, wait) {
    const { envelope, expiresAt } = pending;
    if (Date.now() > expiresAt) return this.#drop(envelope.id);
    this.publish(callTopic(this.me, envelope.to), JSON.stringify(envelope));
    pending.timer = setTimeout(() => this.#transmit(pending, Math.min(2 * wait, RESEND_MAX_MS)), wait);
  }

  #envelope(to, content) {
    this.count += 1;
    return { v: VERSION, id: `${this.run}-${this.count}`, from: this.me, to, ts: Date.now(), ...content };
  }
}

// The default template: the speaker first, then the listener.
export const callTopic = (from, to) => `tring/call/${from}/${to}`;
export const presenceTopic = (id) => `tring/presence/${id}`;
export const presence = (state, run) => JSON.stringify({ v: VERSION, state, run: `${run}-0` });

export function randomHex(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function parse(bytes) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {}; // Not a message of this protocol.
  }
}
