// Draws the cell: capsules as round lines, in perspective, farthest first. Lengths in metres.

const COLOURS = ["#4da3ff", "#ffb454", "#7bd88f", "#d88fd8"];

export class Figure {
  constructor(canvas) {
    this.canvas = canvas;
    this.turn = -0.45;
    this.tilt = 0.5;
    this.distance = 1.9;
    this.centre = [0.15, 0, 0.25];
    this.setup = null;
    this.cell = null;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.turn -= (event.clientX - from[0]) * 0.008;
      this.tilt = Math.min(1.5, Math.max(-0.2, this.tilt + (event.clientY - from[1]) * 0.008));
      from = [event.clientX, event.clientY];
      this.draw();
    });
    canvas.addEventListener("pointerup", () => { from = null; });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.distance = Math.min(8, Math.max(0.6, this.distance * Math.exp(event.deltaY * 0.001)));
      this.draw();
    }, { passive: false });
  }

  show(setup, cell) {
    this.setup = setup;
    this.cell = cell;
    this.draw();
  }

  // A point of the world -> [x, y] on the canvas, depth [m].
  project([x, y, z]) {
    const [cx, cy, cz] = this.centre;
    const ct = Math.cos(this.turn), st = Math.sin(this.turn);
    const px = (x - cx) * ct - (y - cy) * st, py = (x - cx) * st + (y - cy) * ct, pz = z - cz;
    const c = Math.cos(this.tilt), s = Math.sin(this.tilt);
    const depth = this.distance + px * c - pz * s;  // the eye looks along +x before it is turned
    const up = px * s + pz * c;
    const scale = this.focus / Math.max(depth, 0.05);
    return [this.width / 2 - py * scale, this.height / 2 - up * scale, depth, scale];
  }

  draw() {
    if (!this.setup || !this.cell) return;
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    if (this.canvas.width !== Math.round(box.width * ratio)
        || this.canvas.height !== Math.round(box.height * ratio)) {
      this.canvas.width = Math.round(box.width * ratio);
      this.canvas.height = Math.round(box.height * ratio);
    }
    this.width = box.width;
    this.height = box.height;
    this.focus = 1.1 * Math.min(this.width, this.height);
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.lineCap = "round";
    for (const edges of Object.values(this.setup.obstacles)) {
      for (const line of edges) this.stroke(context, line, "#5a6472", 1);
    }
    const lines = [];
    this.setup.sides.forEach((side, index) => {
      const colour = COLOURS[index % COLOURS.length];
      for (const line of this.cell.figure[side] || []) lines.push([line, colour, 1]);
      for (const line of this.cell.ghost[side] || []) lines.push([line, colour, 0.25]);
    });
    lines.sort((a, b) => this.depthOf(b[0]) - this.depthOf(a[0]));
    for (const [line, colour, strength] of lines) this.stroke(context, line, colour, strength);
  }

  depthOf(line) {
    return this.project([(line[0] + line[3]) / 2, (line[1] + line[4]) / 2,
      (line[2] + line[5]) / 2])[2];
  }

  stroke(context, line, colour, strength) {
    const a = this.project(line.slice(0, 3)), b = this.project(line.slice(3, 6));
    const width = Math.max(1, line[6] * (a[3] + b[3]));
    const path = () => {
      context.beginPath();
      context.moveTo(a[0], a[1]);
      context.lineTo(b[0], b[1] + (a[0] === b[0] && a[1] === b[1] ? 0.01 : 0));
      context.stroke();
    };
    context.globalAlpha = strength;
    if (line[6] > 0 && strength === 1) {
      context.strokeStyle = "#11151b";
      context.lineWidth = width + 2;
      path();
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    path();
    context.globalAlpha = 1;
  }
}
