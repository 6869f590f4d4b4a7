// MQTT 3.1.1 over WebSocket, as much of it as a peer needs; § refers to the OASIS standard.
//
// - connects with a clean session, subscribes, and does so again whenever the connection breaks
// - out: publish() with QoS 1; in: onMessage(topic, bytes, retained), acknowledged here
// - what was under way when the connection broke is lost: peers acknowledge each other end to end (delivery.js)

const CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBSCRIBE = 8, SUBACK = 9, PINGREQ = 12;

const KEEP_ALIVE_S = 20;
const RECONNECT_MS = 1000;
// Largest packet taken in: an envelope of 256 KiB and its head.
const PACKET_BYTES_MAX = 260 * 1024;

const REFUSALS = ["", "protocol version", "ClientId", "server unavailable", "user name or password", "not authorised"];

export class Mqtt {
  // `will` is { topic, payload, retain }; callbacks: onUp(), onDown(reason), onRefused(reason), onMessage(…).
  constructor({ url, clientId, user, password, will, filters, ...callbacks }) {
    Object.assign(this, { url, clientId, user, password, will, filters, ...callbacks });
    this.up = false;
    this.packetId = 0;
  }

  connect() {
    const socket = new WebSocket(this.url, "mqtt");
    this.socket = socket;
    this.received = new Uint8Array(0);
    this.heardAt = Date.now();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#sendConnect();
    socket.onmessage = ({ data }) => this.#take(new Uint8Array(data));
    socket.onclose = ({ code }) => this.#closed(`connection closed (${code})`);
  }

  // False while there is no connection.
  publish(topic, payload, retain = false) {
    if (!this.up) return false;
    this.#send(PUBLISH, retain ? 0b0011 : 0b0010, [text(topic), uint16(this.#nextPacketId()), bytes(payload)]);
    return true;
  }

  #sendConnect() {
    const { will, user, password } = this;
    const flags = 0b10 | (will ? 0b1100 : 0) | (will?.retain ? 0b100000 : 0) | (password ? 1 << 6 : 0) | (user ? 1 << 7 : 0);
    const payload = [text(this.clientId)];
    if (will) payload.push(text(will.topic), text(will.payload));
    if (user) payload.push(text(user));
    if (password) payload.push(text(password));
    this.#send(CONNECT, 0, [text("MQTT"), [4, flags], uint16(KEEP_ALIVE_S), ...payload]);
  }

  // A packet may come in several WebSocket messages, and one message may hold several (§6).
  #take(more) {
    this.heardAt = Date.now();
    this.received = concat([this.received, more]);
    for (;;) {
      const head = readHead(this.received);
      if (head === null) return;
      if (head.end > PACKET_BYTES_MAX) return this.socket.close();
      if (this.received.length < head.end) return;
      const body = this.received.subarray(head.start, head.end);
      this.received = this.received.slice(head.end);
      this.#packet(head.type, head.flags, body);
    }
  }

  #packet(type, flags, body) {
    switch (type) {
      case CONNACK:
        if (body[1] !== 0) return this.#refused(REFUSALS[body[1]] ?? `code ${body[1]}`);
        return this.#send(SUBSCRIBE, 0b0010, [uint16(this.#nextPacketId()), ...this.filters.flatMap((f) => [text(f), [1]])]);
      case SUBACK:
        if (body.subarray(2).includes(0x80)) return this.#refused("subscription");
        return this.#subscribed();
      case PUBLISH: {
        const topicEnd = 2 + (body[0] << 8 | body[1]);
        const topic = new TextDecoder().decode(body.subarray(2, topicEnd));
        const qos = flags >> 1 & 3;
        if (qos > 0) this.#send(PUBACK, 0, [body.subarray(topicEnd, topicEnd + 2)]);
        return this.onMessage(topic, body.slice(topicEnd + (qos > 0 ? 2 : 0)), (flags & 1) === 1);
      }
      default: // PUBACK and PINGRESP tell nothing but that the broker lives.
    }
  }

  #subscribed() {
    this.up = true;
    this.ping = setInterval(() => {
      // Half-open connections are found by the missing answer.
      if (Date.now() - this.heardAt > 1500 * KEEP_ALIVE_S) this.socket.close();
      else this.#send(PINGREQ, 0, []);
    }, 500 * KEEP_ALIVE_S);
    this.onUp();
  }

  // The broker's no is final: asking again would not change it.
  #refused(reason) {
    this.socket.onclose = null;
    this.socket.close();
    this.onRefused(`the broker refused: ${reason}`);
  }

  #closed(reason) {
    this.up = false;
    clearInterval(this.ping);
    this.onDown(reason);
    setTimeout(() => this.connect(), RECONNECT_MS);
  }

  #send(type, flags, parts) {
    const body = concat(parts.map((part) => Uint8Array.from(part)));
    this.socket.send(concat([Uint8Array.from([type << 4 | flags, ...length(body.length)]), body]));
  }

  #nextPacketId() {
    this.packetId = this.packetId % 0xffff + 1;
    return this.packetId;
  }
}

// Fixed header (§2.2): type, flags, where the body starts and ends; null while it is not complete.
function readHead(data) {
  let size = 0;
  for (let at = 1; at < Math.min(data.length, 5); at++) {
    size |= (data[at] & 0x7f) << 7 * (at - 1);
    if (data[at] < 0x80) return { type: data[0] >> 4, flags: data[0] & 0xf, start: at + 1, end: at + 1 + size };
  }
  // Four bytes of length that announce a fifth are against the standard; an absurd size ends the connection.
  return data.length < 5 ? null : { end: Infinity };
}

// Remaining length (§2.2.3).
function length(n) {
  const digits = [];
  do {
    digits.push(n > 0x7f ? n & 0x7f | 0x80 : n);
    n >>= 7;
  } while (n > 0);
  return digits;
}

const uint16 = (n) => [n >> 8, n & 0xff];
const bytes = (payload) => typeof payload === "string" ? new TextEncoder().encode(payload) : payload;

function text(string) {
  const encoded = new TextEncoder().encode(string);
  return concat([Uint8Array.from(uint16(encoded.length)), encoded]);
}

function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
