// One socket to the cell: words ten times a second, pictures when the one before is drawn.

import { Figure } from "/figure.js";
import { HandPads } from "/hands.js";

const byId = (id) => document.getElementById(id);
const figure = new Figure(byId("drawing"));
const SILENCE = 1500;  // words older than this are not shown as the present [ms]
const pads = new HandPads(lead, (words) => say(words, false));
const STRIP = "median / 99th percentile of 5 s: from the pose to its command, from the command to the arm";
const FULL = 20;  // a bar of this length [ms] fills its row
let setup = null;
let socket = null;
let heard = 0;
let left = false;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Build the children anew where what they show has changed; most words have not, ten times a second.
function fill(element, entries, build) {
  const key = JSON.stringify(entries);
  if (element.shown === key) return;
  element.shown = key;
  element.replaceChildren(...entries.flatMap(build));
}

function connect() {
  if (left) return;
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/cell`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => {
    if (typeof event.data === "string") take(JSON.parse(event.data));
    else draw(event.data);
  };
  socket.onclose = () => { pads.drop(); setTimeout(connect, 1000); };
}

function take(message) {
  if (message.setup) begin(message.setup);
  if (message.cell) { heard = performance.now(); show(message.cell); }
  if (message.answer) {
    const { act: name, success, message: text } = message.answer;
    say(`${name}: ${text}`, success);
  }
  if (message.hands) pads.hear(message.hands);
}

function say(words, isGood) {
  byId("answer").className = isGood ? "good" : "bad";
  write(byId("answer"), words);
}

function send(wish) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(wish));
  return true;
}

// An act is about the episode that is shown when it is asked for.
function ask(kind, name, text = "", episode = episodeNumber) {
  if (!send({ wish: kind, name, text, episode }) && kind === "act") {
    say(`${name}: not sent, the cockpit is not connected; use \`ate stop\``, false);
  }
}

function lead(sides, number) { return send({ wish: "lead", sides, number }); }

// --- once per connection ---------------------------------------------------------------------

function begin(given) {
  setup = given;
  write(byId("hardware"), setup.hardware === "sim" ? "simulated cell" : "");
  byId("pictures").replaceChildren(...setup.cameras.map((role) => make("figure", {},
    make("canvas", { id: `picture-${role}`, width: 320, height: 180 }),
    make("figcaption", { id: `caption-${role}`, textContent: role }))));
  byId("sides").replaceChildren(...setup.sides.map((side) => make("article",
    { id: `side-${side}`, className: "side" },
    make("h2", { textContent: side }),
    make("p", { className: "prompt" }),
    make("dl", {}),
    make("p", { className: "reason" }),
    make("dl", { className: "latency", title: STRIP }),
    button(`${side}/enable`, "Enable"), button(`${side}/clear_errors`, "Clear errors"))));
  pads.clear();
  byId("pads").replaceChildren(...setup.sides.map((side) => {
    const pad = make("div", { id: `pad-${side}`, className: "pad", tabIndex: 0 });
    pad.setAttribute("aria-label", `${side} hand`);
    pads.add(side, pad);
    return pad;
  }), ...setup.sides.map((side) => {
    const grip = make("button", { id: `grip-${side}`, textContent: "gripper (g)" });
    grip.addEventListener("click", () => { pads.wake(side, true); grip.blur(); });
    return grip;
  }));
  byId("episode-acts").replaceChildren(button("record", "Record (r)"),
    button("finish", "Finish (s)"), button("keep", "Keep: success (s)"),
    button("fail", "Keep: failure (f)"), button("discard", "Discard (d)"),
    button("redo", "Redo (e)"), button("save_last", "Save last seconds"));
  setup.cameras.forEach((role) => ask("picture", role));
}

function button(name, text) {
  const element = make("button", { textContent: text, title: setup.acts[name] || "" });
  element.dataset.act = name;
  return element;
}

// A key or button scores what is shown; the node refuses where that was scored meanwhile.
let turn = "";
const SCORES = { "+": "s", "-": "f", a: "a", u: "u" };
function score(key) { ask("act", "score", `${key} ${turn}`); }

for (let tenths = 1; tenths < 10; tenths += 1) {
  const element = make("button", { textContent: `0.${tenths}`, title: `${tenths} tenths of the task` });
  element.dataset.score = String(tenths);
  byId("tenths").append(element);
}

function showScoring({ turn: next, left, last, reason }) {
  turn = next || "";
  byId("scoring").hidden = left === undefined;
  write(byId("scoring-turn"), reason || `${turn} · ${left} left`);
  write(byId("scoring-last"), last ? `last: ${last}` : "");
}

document.addEventListener("click", (event) => {
  const name = event.target.dataset && event.target.dataset.act;
  const key = event.target.dataset && event.target.dataset.score;
  if (key) { score(key); event.target.blur(); }
  if (name) { ask("act", name); event.target.blur(); }
});

let labelled = null;  // the episode that waited when its label was begun
byId("label").addEventListener("focus", () => { labelled = episodeNumber; });
byId("label-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask("act", "label", byId("label").value, labelled);
  byId("label").value = "";
  byId("label").blur();
});

let episodeState = "";
let episodeNumber = null;
const KEYS = { " ": "estop", r: "record", f: "fail", d: "discard", e: "redo" };
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.tagName === "INPUT") return;
  if (event.key === "q") {
    left = true;
    socket.close();
    return write(byId("headline"), "left: reload the page to look again; the cell goes on");
  }
  if (!byId("scoring").hidden && SCORES[event.key]) return score(SCORES[event.key]);
  if (event.key === "s") return ask("act", episodeState === "pending" ? "keep" : "finish");
  if (["1", "2"].includes(event.key)) return byId(`pad-${setup.sides[event.key - 1]}`)?.focus();
  if (KEYS[event.key]) { event.preventDefault(); ask("act", KEYS[event.key]); }
});

// --- pictures --------------------------------------------------------------------------------

async function draw(buffer) {
  const role = setup.cameras[new Uint8Array(buffer, 0, 1)[0]];
  try {
    const picture = await createImageBitmap(new Blob([buffer.slice(1)], { type: "image/jpeg" }));
    const canvas = byId(`picture-${role}`);
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
  } catch { /* half a picture: the next one comes */ }
  ask("picture", role);
}

// --- words -----------------------------------------------------------------------------------

function show(cell) {
  headline(cell);
  for (const role of setup.cameras) {
    const stream = cell.cameras[role];
    const caption = byId(`caption-${role}`);
    caption.className = stream.silent ? "bad" : stream.slow ? "warn" : "";
    write(caption, stream.age === null ? `${role}: no picture yet`
      : stream.silent ? `${role}: silent for ${stream.age.toFixed(0)} s`
        : `${role} ${stream.rate.toFixed(0)} Hz`);
    byId(`picture-${role}`).classList.toggle("old", stream.silent);
  }
  for (const side of setup.sides) showSide(side, cell.arms[side]);
  figure.show(setup, cell);
  fill(byId("near"), cell.near, (pair) => make("li",
    { className: pair.distance < pair.stop + 0.01 ? "bad" : pair.distance < pair.slow ? "warn" : "" },
    `${pair.first} – ${pair.second}: ${(1000 * pair.distance).toFixed(0)} mm`));
  showEpisode(cell);
  showScoring(cell.scoring || {});
  showHands(cell);
  byId("policy").hidden = !cell.policy.state;
  write(byId("policy-state"), [cell.policy.state, cell.policy.reason].filter(Boolean).join(": "));
  const ill = Object.entries(cell.health).filter(([, line]) => line.level !== "ok")
    .map(([name, line]) => [line.level === "warn" ? "warn" : "bad", `${name}: ${line.message}`]);
  const well = [["", `${Object.keys(cell.health).length} nodes well`]];
  fill(byId("lines"), ill.length ? ill : well, ([className, text]) => make("li", { className }, text));
  fill(byId("loops"), Object.entries(cell.loops), ([name, sentence]) =>
    make("tr", {}, make("td", {}, name), make("td", {}, sentence)));
}

function headline(cell) {
  byId("headline").className = cell.headline.level;
  write(byId("headline"), cell.headline.text);
  byId("reset").hidden = !cell.estop.stopped;
}

function rows(list, entries) {
  fill(list, entries, ([name, value, level]) => [
    make("dt", { textContent: name }),
    make("dd", { textContent: value, className: level || "" })]);
}

function showSide(side, arm) {
  const article = byId(`side-${side}`);
  const { status, gripper, operator } = arm;
  const atWork = ["connected", "tracking", "homing", "holding"];
  const level = (state) => atWork.includes(state) ? "" : "bad";
  rows(article.querySelector("dl"), [
    ["arm", `${status.state || "unknown"}${status.commander ? ` (${status.commander})` : ""}`,
      level(status.state)],
    ["states", arm.states.silent ? "silent" : `${arm.states.rate.toFixed(0)} Hz`,
      arm.states.silent ? "bad" : ""],
    ["commands", arm.commands.silent ? "none" : `${arm.commands.rate.toFixed(0)} Hz`],
    ["force", arm.force === null ? "–" : `${arm.force.toFixed(1)} N`],
    ["gripper", `${gripper.state || "unknown"}${arm.opening === null ? ""
      : ` ${(100 * arm.opening).toFixed(0)} %`}`, level(gripper.state)],
    ["operator", operator.clutch || "nobody", operator.clutch === "engaged" ? "good" : ""],
    ["hand", operator.tracked ? "seen" : "not seen"],
    ["Joy-Con", !operator.joycon ? "silent" : operator.battery_low ? "battery low" : "well",
      operator.battery_low ? "warn" : ""],
    ["reach", operator.out_of_reach ? "out of reach" : "within",
      operator.out_of_reach ? "warn" : ""],
  ]);
  fill(article.querySelector(".latency"), arm.latency, strip);
  write(article.querySelector(".prompt"), operator.prompt || "");
  write(article.querySelector(".reason"),
    [status.reason, status.guard, operator.reason, gripper.reason].filter(Boolean).join(" · "));
}

const COLOUR = { ok: "", warn: "warn", error: "bad" };

function strip({ stage, median, p99, level }) {
  const bars = [p99, median].map((time) => {
    const bar = make("span", {});
    bar.style.width = `${Math.min(100, 100 * Math.max(0, time) / FULL)}%`;
    return bar;
  });
  return [make("dt", { textContent: stage }),
    make("dd", { className: COLOUR[level] }, make("span", { className: "bar" }, ...bars),
      `${median.toFixed(1)} / ${p99.toFixed(1)} ms`)];
}

function showHands(cell) {
  byId("hands").hidden = setup.hardware !== "sim";
  byId("pads").hidden = Boolean(cell.unled);
  write(byId("unled"), cell.unled);
  for (const side of setup.sides) {
    const { operator } = cell.arms[side], pad = byId(`pad-${side}`);
    const engaged = operator.clutch === "engaged";
    pad.classList.toggle("held", pads.pads[side].held);
    pad.classList.toggle("engaged", engaged);
    write(pad, `${side} hand: ${engaged ? "the arm follows" : operator.clutch || "no operator"}`);
  }
}

function shortList(entries) {
  const more = entries.length - 4;
  return entries.slice(0, 4).join(", ") + (more > 0 ? ` and ${more} more` : "") || "none";
}

const SHOWN = { idle: ["record", "redo", "save_last"], recording: ["finish", "discard", "redo"],
  pending: ["keep", "fail", "discard", "redo"] };

function showEpisode(cell) {
  const { episode, card } = cell;
  episodeState = episode.state || "";
  episodeNumber = episode.episode ?? null;
  const recording = episodeState === "recording", pending = episodeState === "pending";
  write(byId("episode-state"), !episode.state ? "no recorder runs"
    : recording ? `recording episode ${episode.episode}: ${episode.seconds} s`
      : pending ? `episode ${episode.episode} waits to be judged`
        : `${episode.kept} kept, ${episode.discarded} discarded; next: episode ${episode.episode}`);
  byId("episode").classList.toggle("pending", pending);
  for (const element of byId("episode-acts").children) {
    element.hidden = !(SHOWN[episodeState] || []).includes(element.dataset.act);
  }
  byId("label-form").hidden = !pending;
  write(byId("episode-message"), episode.message || "");
  rows(byId("card"), !card.episode && card.episode !== 0 ? [] : [
    ["episode", `${card.episode}: ${card.seconds} s`],
    ["dropped", `${card.dropped} messages`, card.dropped ? "bad" : ""],
    ["gaps", shortList(Object.entries(card.gaps).map(([name, count]) => `${name} ${count}`)),
      Object.keys(card.gaps).length ? "warn" : ""],
    ...Object.entries(card.hands).map(([side, hand]) => [`${side} hand`,
      `clutch lost ${hand.losses} times, ${hand.edge} s at the edge of reach`,
      hand.losses || hand.edge > 1 ? "warn" : ""])]);
  fill(byId("streams"), Object.entries(recording ? episode.streams : {}),
    ([name, stream]) => make("tr", { className: stream.gaps ? "warn" : "" },
      make("td", {}, name), make("td", {}, `${stream.rate_hz} Hz`),
      make("td", {}, `${stream.gaps} gaps`)));
  write(byId("folder"), `episodes in ${episode.output || "the folder"}`);
  fill(byId("episodes"), cell.episodes, (one) => make("li", {}, `${one.name} ${one.outcome}`));
}

setInterval(() => {
  if (left) return;
  const silent = performance.now() - heard > SILENCE;
  document.body.classList.toggle("silent", silent);
  if (silent) {
    byId("headline").className = "bad";
    write(byId("headline"), "not connected: what is shown is old; `ate stop` in a terminal stops");
  }
}, 250);

connect();
