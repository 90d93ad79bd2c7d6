// A pad for each hand of the simulated cell. A hand is led only while its pad is pressed, or `c`
// held on it; let go, hidden, disconnected or answered late, nothing is wanted any more.

const PERIOD = 50;  // between two wishes [ms]; a sixth of the silence that lets go
const LATE = 600;  // an answer that takes longer ends the lead [ms]
const AHEAD = 4;  // wishes on their way at once
const SPEED = 0.2, TURN = 0.6;  // [m/s], [rad/s]
const FULL = 90, DEAD = 6;  // drag for full speed, and drag that is none [px]
const LINGER = 150;  // how long a notch of the wheel lasts [ms]
const STROKES = { arrowright: [1, 0, 0], arrowleft: [-1, 0, 0], arrowup: [0, 1, 0],
  arrowdown: [0, -1, 0], pageup: [0, 0, 1], pagedown: [0, 0, -1] };  // right, forward, up
const TURNS = { x: [1, 0, 0], y: [0, 1, 0], z: [0, 0, 1] };

const add = (a, b, factor = 1) => a.map((value, index) => value + factor * b[index]);

class Pad {
  constructor(side, element, wake) {
    Object.assign(this, { side, element, wake, pointer: null, from: [0, 0], at: [0, 0],
      byKey: false, grip: false, turn: false, notch: 0, notchUntil: 0, keys: new Map() });
    const on = (name, take) => element.addEventListener(name, take);
    on("pointerdown", (event) => {
      if (event.button !== 0 || this.pointer !== null) return;
      this.pointer = event.pointerId;
      this.from = this.at = [event.clientX, event.clientY];
      element.setPointerCapture(event.pointerId);
      this.wake();
    });
    on("pointermove", (event) => {
      if (event.pointerId === this.pointer) this.at = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      on(name, (event) => { if (event.pointerId === this.pointer) this.letGo(); });
    }
    on("wheel", (event) => {
      event.preventDefault();
      this.notch = -Math.sign(event.deltaY + event.deltaX);
      this.turn = event.shiftKey;
      this.notchUntil = performance.now() + LINGER;
    });
    on("keydown", (event) => this.press(event));
    on("keyup", (event) => this.release(event));
    on("blur", () => { this.keys.clear(); if (this.byKey) this.letGo(); });
    on("contextmenu", (event) => event.preventDefault());
  }

  get held() { return this.pointer !== null || this.byKey; }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "c" && !event.repeat) { this.byKey = true; this.wake(); }
    if (key === "g" && !event.repeat) this.wake(true);
    if (key in STROKES || key in TURNS) {
      event.preventDefault();  // the page does not scroll
      this.keys.set(key, key in TURNS && event.shiftKey ? -1 : 1);
    }
  }

  release(event) {
    const key = event.key.toLowerCase();
    this.keys.delete(key);
    if (key === "c" && this.byKey) { this.byKey = false; if (!this.held) this.letGo(); }
  }

  letGo() {
    this.pointer = null;
    this.byKey = false;
    this.keys.clear();
    this.notchUntil = 0;
    this.wake();
  }

  wish() {
    const notch = performance.now() < this.notchUntil ? this.notch : 0;
    const drag = [this.at[0] - this.from[0], this.from[1] - this.at[1]].map((pixels) =>
      Math.abs(pixels) < DEAD || this.pointer === null ? 0
        : Math.max(-1, Math.min(1, pixels / FULL)));
    let linear = [SPEED * drag[0], SPEED * drag[1], this.turn ? 0 : SPEED * notch];
    let angular = [0, 0, this.turn ? TURN * notch : 0];
    for (const [key, sign] of this.keys) {
      if (key in STROKES) linear = add(linear, STROKES[key], 0.5 * SPEED);
      else angular = add(angular, TURNS[key], sign * TURN);
    }
    return { linear, angular, clutch: true, grip: this.grip };
  }
}

export class HandPads {
  // send: takes the sides and the number of a wish, false when there is no connection; tell: words.
  constructor(send, tell) {
    Object.assign(this, { send, tell, pads: {}, grips: new Set(), timer: null,
      knows: false, asked: [], first: 0, number: 0 });  // asked: [number, time] of each not answered
    const drop = () => this.drop();
    window.addEventListener("blur", drop);
    window.addEventListener("pagehide", drop);
    document.addEventListener("freeze", drop);
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.drop(); });
  }

  add(side, element) {
    this.pads[side] = new Pad(side, element, (grips) => this.wake(side, grips));
  }

  // Forget all pads: the page is built anew.
  clear() {
    this.drop();
    this.pads = {};
  }

  drop(words = "") {
    this.grips.clear();
    for (const pad of this.held) pad.letGo();
    if (this.timer !== null) this.finish();
    if (words) this.tell(words);
  }

  wake(side, grips = false) {
    if (grips) this.grips.add(side);
    if (this.timer === null) {
      if (!this.held.length && !this.grips.size) return;
      this.knows = false;  // nothing is held before the hands have said what they hold
      this.asked = [];
      this.first = this.number + 1;
      this.timer = setInterval(() => this.step(), PERIOD);
      this.step();
    } else if (!this.held.length && !this.grips.size) this.finish();
  }

  get held() { return Object.values(this.pads).filter((pad) => pad.held); }

  step() {
    if (this.asked.length && performance.now() - this.asked[0][1] > LATE) {
      return this.drop("the hands answer late: let go");
    }
    if (this.asked.length >= AHEAD) return;
    const sides = {};  // no silence while the hands are asked what they hold
    if (this.knows) {
      for (const side of this.grips) this.pads[side].grip = !this.pads[side].grip;
      for (const pad of this.held) sides[pad.side] = pad.wish();
      for (const side of this.grips) sides[side] ||= { grip: this.pads[side].grip };
      this.grips.clear();
    }
    if (!this.say(sides)) return this.drop();
    if (this.knows && !this.held.length) this.finish(false);
  }

  say(sides) {
    this.number += 1;
    this.asked.push([this.number, performance.now()]);
    return this.send(sides, this.number);
  }

  // Let go at once, whatever is not answered yet.
  finish(says = true) {
    clearInterval(this.timer);
    this.timer = null;
    if (says) this.say({});
  }

  hear(answer) {
    this.asked = this.asked.filter(([number]) => number > answer.number);
    if (answer.number < this.first) return;  // to a lead that has ended
    if (answer.error) return this.drop(answer.error);
    for (const pad of Object.values(this.pads)) {
      if (!this.knows || !pad.held) pad.grip = answer[pad.side].grip;
    }
    if (answer.released && this.knows) this.drop("let go for safety: press again");
    this.knows = true;
  }
}
