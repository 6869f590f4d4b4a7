// The page: reads its settings from the address, shows the call, and tells what happens.
//
// Settings stand behind the #, as in #broker=ws://127.0.0.1:8083/mqtt&id=bob&role=answer:
//   broker   address of the broker over WebSocket
//   id       own peer ID
//   role     call (rings `peer` at once) or answer (takes the first call at once); without it, buttons decide
//   peer     whom to call
//   send     camera (default), pattern: tring's test picture and tones, generated here, or tones: those alone
//   codec    h264 or vp8: offer or accept this one only
//   red      first: prefer sound with copies of earlier packets (RED, RFC 2198) to plain Opus
//   talk     hang up so many seconds after the first picture
//   report   sound: tell once a second what is known of the sound that comes
//   ice      STUN or TURN server, as stun:HOST:3478 or turns:HOST:443; user and password of TURN: ice_user, ice_password
//   relay    only: by the TURN server alone
//
// Every event is one line of JSON in the console behind PREFIX, for programs, and a line on the page, for people.

import { Judge, camera, testPattern, tones } from "./media.js";
import { Phone } from "./phone.js";

const PREFIX = "tring-page ";
const REPORT_MS = 1000;

const settings = new URLSearchParams(location.hash.slice(1));
const reportsSound = settings.get("report") === "sound";
const element = (id) => document.getElementById(id);
const [remote, own, log] = ["remote", "own", "log"].map(element);

let phone = null, judge = null, stream = null;

function tell(event) {
  console.log(PREFIX + JSON.stringify(event));
  const { event: name, ...rest } = event;
  log.textContent += `${name} ${Object.keys(rest).length ? JSON.stringify(rest) : ""}\n`;
}

// Asked for once: a second call uses the same camera.
async function media() {
  stream ??= await ({ pattern: testPattern, tones }[settings.get("send")] ?? camera)();
  own.srcObject = stream;
  return stream;
}

function watch(connection) {
  const watching = new Judge(connection, remote, firstFrame, () => firstAudio(watching));
  judge = watching;
  connection.ontrack = ({ track, streams: [received] }) => {
    remote.srcObject = received;
    if (track.kind === "audio") judge.listen(received, reportsSound);
  };
}

function firstFrame(width, height) {
  tell({ event: "first_frame", width, height });
  const seconds = Number(settings.get("talk"));
  if (seconds > 0) setTimeout(() => phone.hangUp(), seconds * 1000);
}

function firstAudio(watching) {
  tell({ event: "first_audio" });
  if (!reportsSound) return;
  const reporting = setInterval(async () => {
    const { audio } = await watching.figures();
    if (judge === watching) tell({ event: "sound", ...audio });
    else clearInterval(reporting);
  }, REPORT_MS);
}

async function happened({ connection, ...event }) {
  if (event.event !== "ended") {
    tell(event);
    if (event.event === "online" && settings.get("role") === "call") phone.dial(settings.get("peer"));
    if (event.event === "incoming" && settings.get("role") === "answer") phone.answer();
  } else {
    const over = judge;
    judge = null;
    over?.stop();
    const figures = over ? await over.figures() : {};
    connection?.close();
    tell({ ...event, ...figures });
  }
}

function turnLogin() {
  const [username, credential] = ["ice_user", "ice_password"].map((name) => settings.get(name));
  return username ? { username, credential } : {};
}

function start() {
  const ice = settings.get("ice");
  phone = new Phone({
    me: settings.get("id"),
    broker: settings.get("broker"),
    codec: settings.get("codec"),
    redFirst: settings.get("red") === "first",
    media,
    iceServers: ice ? [{ urls: ice, ...turnLogin() }] : [],
    iceTransportPolicy: settings.get("relay") === "only" ? "relay" : "all",
    onEvent: happened,
    onConnection: watch,
  });
  phone.start();
}

// Nothing fails unseen.
addEventListener("error", ({ message }) => tell({ event: "error", text: message }));
addEventListener("unhandledrejection", ({ reason }) => tell({ event: "error", text: String(reason) }));

element("call").onclick = () => phone.dial(element("peer").value);
element("answer").onclick = () => phone.answer();
element("hangup").onclick = () => phone.hangUp();
element("peer").value = settings.get("peer") ?? "";
element("me").textContent = settings.get("id") ?? "add #broker=…&id=… to the address";
if (settings.has("broker") && settings.has("id")) start();
