// The browser's half of player.py, in one file: anywidget loads one module, without a build step.
// The sound card's clock is the only clock: sound is scheduled on it, and the picture is chosen by what is heard.

const LEAD = 0.08; // s between the decision to play and the first sample
const MARGIN = 0.01; // s: sound that would begin sooner than this is too late to be scheduled
const TICK = 50; // ms
const REPORT = 400; // ms between two words to the kernel about how far it has played
const LOST = 5; // so many reports in a row with nothing new while it waits: then a message may be lost

/** Plays frames and their sound as they arrive; when there are too few, both wait. */
export class Engine {
  /** frameRate in 1/s, sampleRate in Hz, enough: frames that must be there before it plays. */
  constructor({ frameRate, sampleRate, enough }) {
    Object.assign(this, { frameRate, sampleRate, enough });
    this.screens = new Set(); // functions that show a picture
    this.playing = false;
    this.run = 0; // number of the run whose clips are played; 0 until the first of them arrives
    this.past = 0; // clips of runs up to this one are late, and dropped
    this.lateness = []; // of the last pictures against their sound, in s
    this.empty();
  }

  empty() {
    this.pictures = new Map(); // frame -> ImageData or ImageBitmap, until a later one is due
    this.sounds = []; // { first, count, samples } that are not scheduled yet
    this.nodes = new Set();
    this.received = 0; // frames that have arrived
    this.scheduled = 0; // frames whose sound is scheduled
    this.anchor = null; // { frame, time }: this frame is heard at this time of the audio clock
    this.before = null; // the anchor before the last pause
    this.starving = true;
    this.pauses = 0;
    this.shown = -1;
  }

  /** The audio clock. Browsers start it only in a click or key press, so call this there. */
  open(Context = AudioContext) {
    if (!this.context) {
      this.context = new Context({ sampleRate: this.sampleRate });
      this.loudness = this.context.createGain();
      this.loudness.connect(this.context.destination);
    }
    return this.context.resume();
  }

  start() {
    this.stop();
    this.empty();
    this.playing = true;
    this.open();
  }

  /** Silence at once; the last picture stays. */
  stop() {
    this.playing = false;
    this.past = Math.max(this.past, this.run);
    this.run = 0;
    for (const node of this.nodes) node.stop();
    this.nodes.clear();
    this.context?.suspend();
  }

  /** Take a clip: `pictures` one a frame, `samples` Float32Array. */
  add(run, first, pictures, samples) {
    if (!this.playing || run <= this.past || first !== this.received) return;
    this.run = run;
    pictures.forEach((picture, index) => this.pictures.set(first + index, picture));
    this.sounds.push({ first, count: pictures.length, samples });
    this.received = first + pictures.length;
    this.tick();
  }

  /** When a frame is heard, on the audio clock, in s. */
  time(frame) {
    return this.anchor.time + (frame - this.anchor.frame) / this.frameRate;
  }

  /** Schedule what can be, begin to wait when there is nothing left, go on when there is enough. */
  tick() {
    if (!this.playing) return;
    const now = this.context.currentTime;
    if (!this.starving && this.time(this.scheduled) < now + MARGIN) {
      this.starving = true;
      this.pauses += 1;
    }
    if (this.starving && this.received - this.scheduled >= this.enough) {
      this.before = this.anchor;
      // on a whole sample, so that no sample has to be made up between two
      const time = Math.ceil((now + LEAD) * this.sampleRate) / this.sampleRate;
      this.anchor = { frame: this.scheduled, time };
      this.starving = false;
    }
    if (!this.starving) {
      for (const sound of this.sounds.splice(0)) this.schedule(sound);
    }
    const due = Math.floor(this.position());
    for (const [frame, picture] of this.pictures) {
      if (frame >= due) break;
      picture.close?.();
      this.pictures.delete(frame);
    }
  }

  schedule({ first, count, samples }) {
    const buffer = this.context.createBuffer(1, samples.length, this.sampleRate);
    buffer.copyToChannel(samples, 0);
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.loudness);
    node.onended = () => this.nodes.delete(node);
    node.start(this.time(first));
    this.nodes.add(node);
    this.scheduled = first + count;
  }

  /** The moment that leaves the loudspeaker now, on the audio clock. */
  heard() {
    return this.context.currentTime - Math.min(this.context.outputLatency || 0, 0.5);
  }

  /** How far it has played, in frames. */
  position() {
    if (!this.anchor) return 0;
    const heard = this.heard();
    const early = heard < this.anchor.time; // the pause before is not over yet
    if (early && !this.before) return this.anchor.frame;
    const { frame, time } = early ? this.before : this.anchor;
    const limit = early ? this.anchor.frame : this.scheduled;
    return Math.min(Math.max(frame + (heard - time) * this.frameRate, frame), limit);
  }

  /** Show the frame that is heard. Called whenever the screen is about to be drawn. */
  draw() {
    if (!this.playing || !this.anchor) return;
    const last = this.heard() < this.anchor.time ? this.anchor.frame : this.scheduled; // no frame before its sound
    const frame = Math.min(Math.floor(this.position() + 1e-6), last - 1);
    const picture = this.pictures.get(frame);
    if (frame === this.shown || !picture) return;
    this.shown = frame;
    for (const show of this.screens) show(picture);
    if (frame < this.anchor.frame) return;
    this.lateness.push(this.heard() - this.time(frame));
    if (this.lateness.length > 200) this.lateness.shift();
  }

  state() {
    if (!this.playing) return "stopped";
    if (this.context.state !== "running") return "press Start to allow sound";
    if (!this.starving) return "playing";
    return this.pauses ? "too slow: waiting" : "starting";
  }
}

/** Bytes of a message -> pictures that a canvas can draw. */
async function unpack(view, count, size, sizes) {
  if (sizes.length) {
    let offset = view.byteOffset;
    const files = sizes.map((length) => {
      offset += length;
      return new Blob([new Uint8Array(view.buffer, offset - length, length)], { type: "image/jpeg" });
    });
    return Promise.all(files.map((file) => createImageBitmap(file)));
  }
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return Array.from({ length: count }, (_, index) => {
    const image = new ImageData(size, size);
    image.data.fill(255); // opaque
    for (let to = 0, from = index * size * size * 3; to < image.data.length; to += 4) {
      for (let channel = 0; channel < 3; channel++) image.data[to + channel] = bytes[from++];
    }
    return image;
  });
}

function paint(canvas, picture) {
  const context = canvas.getContext("2d");
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
}

const CONTROLS = `
  <canvas role="img" aria-label="the video that is being made"></canvas>
  <div class="rflav-controls">
    <div><button class="rflav-start"></button> <button class="rflav-save">save what I saw</button></div>
    <label class="rflav-class">class <select></select></label>
    <label>steps per frame <input class="rflav-steps" type="range" min="1" max="10"> <output></output></label>
    <label>seed <input class="rflav-seed" type="number" min="0" step="1"></label>
    <label>volume <input class="rflav-volume" type="range" min="0" max="1" step="0.05" value="1"></label>
    <div class="rflav-row">buffer <div class="rflav-buffer" role="meter" aria-label="buffer" aria-valuemin="0"><div></div></div>
      <span class="rflav-ahead"></span></div>
    <div class="rflav-state"></div>
    <div class="rflav-message" role="status"></div>
  </div>`;

export default () => {
  let engine, facts;
  let speed = 0; // frames a second that the kernel makes
  let message = "";
  const refreshers = new Set(); // one for each view

  function initialize({ model }) {
    facts = model.get("facts");
    engine = new Engine(facts);
    let queue = Promise.resolve(); // decoding takes time, and order matters
    const hear = (content, buffers) => {
      if (content.kind === "said") message = content.text;
      if (content.kind !== "clip") return;
      speed = content.speed || speed; // 0 with a clip that is sent once more
      const sound = buffers[1].buffer.slice(buffers[1].byteOffset, buffers[1].byteOffset + buffers[1].byteLength);
      queue = queue
        .then(() => unpack(buffers[0], content.count, facts.size, content.sizes))
        .then((pictures) => engine.add(content.run, content.first, pictures, new Float32Array(sound)))
        .catch((error) => (message = `this browser cannot show it: ${error}`));
    };
    let [had, idle] = [0, 0]; // frames that had arrived at the last report, reports since then
    const report = () => {
      if (!engine.playing) return;
      idle = engine.starving && engine.received === had ? idle + 1 : 0;
      had = engine.received;
      const missing = idle && idle % LOST === 0 ? had : null; // the frame from which on it asks for clips again
      model.send({ kind: "played", run: engine.run, frames: Math.floor(engine.position()), missing });
    };
    const turn = () => {
      if (model.get("running") === engine.playing) return;
      if (engine.playing) {
        report(); // so that what was seen ends here
        engine.stop();
      } else {
        [message, speed] = ["", 0];
        engine.start();
      }
    };
    model.on("msg:custom", hear);
    model.on("change:running", turn);
    const timers = [
      setInterval(() => (engine.tick(), refreshers.forEach((refresh) => refresh())), TICK),
      setInterval(report, REPORT),
    ];
    if (model.get("running")) {
      // a page that was loaded anew: what an earlier one played is gone
      model.set("running", false);
      model.save_changes();
    }
    let frame = requestAnimationFrame(function draw() {
      engine.draw();
      frame = requestAnimationFrame(draw);
    });
    return () => {
      timers.forEach(clearInterval);
      cancelAnimationFrame(frame);
      model.off("msg:custom", hear);
      model.off("change:running", turn);
      engine.stop();
      engine.context?.close();
    };
  }

  function render({ model, el }) {
    const root = document.createElement("div");
    root.className = "rflav-player";
    root.innerHTML = CONTROLS;
    root.engine = engine; // for tests, and for the curious
    el.append(root);
    const part = (name) => root.querySelector(name);
    const canvas = part("canvas");
    canvas.width = canvas.height = facts.size;
    canvas.classList.toggle("rflav-pixels", facts.size < 256);

    const select = part("select");
    part(".rflav-class").hidden = !facts.classes.length;
    if (facts.any) select.append(new Option("any", "-1"));
    select.append(...facts.classes.map((name, index) => new Option(name, index)));
    const controls = {
      y: {
        input: select,
        read: () => (select.value === "-1" ? null : facts.classes[select.value]),
        write: (y) => (select.value = String(facts.classes.indexOf(y))),
      },
      steps_per_frame: {
        input: part(".rflav-steps"),
        read: () => Number(part(".rflav-steps").value),
        write: (steps) => {
          part(".rflav-steps").max = Math.max(10, steps);
          part("output").value = part(".rflav-steps").value = steps;
        },
      },
      seed: {
        input: part(".rflav-seed"),
        read: () => Math.max(0, Math.floor(Number(part(".rflav-seed").value) || 0)),
        write: (seed) => (part(".rflav-seed").value = seed),
      },
    };
    const listeners = [];
    for (const [name, { input, read, write }] of Object.entries(controls)) {
      const listen = () => write(model.get(name));
      listen();
      model.on(`change:${name}`, listen);
      listeners.push([`change:${name}`, listen]);
      input.addEventListener("change", () => {
        model.set(name, read());
        model.save_changes();
        listen();
      });
    }
    part(".rflav-steps").addEventListener("input", () => (part("output").value = part(".rflav-steps").value));
    part(".rflav-volume").addEventListener("input", (event) => {
      engine.open();
      engine.loudness.gain.value = Number(event.target.value);
    });
    part(".rflav-start").addEventListener("click", () => {
      if (engine.playing && engine.context.state !== "running") return void engine.open();
      if (!engine.playing) engine.open();
      model.set("running", !engine.playing);
      model.save_changes();
    });
    part(".rflav-save").addEventListener("click", () => model.send({ kind: "save" }));

    const refresh = () => {
      const ahead = engine.playing ? Math.max(0, engine.received - engine.position()) / facts.frameRate : 0;
      const most = facts.most / facts.frameRate;
      part(".rflav-start").textContent = engine.playing ? "Stop" : "Start";
      part(".rflav-buffer").setAttribute("aria-valuemax", most);
      part(".rflav-buffer").setAttribute("aria-valuenow", ahead.toFixed(1));
      part(".rflav-buffer div").style.width = `${Math.min(100, (100 * ahead) / most)}%`;
      part(".rflav-ahead").textContent = `${ahead.toFixed(1)} s`;
      const made = engine.playing && speed ? `; makes ${speed.toFixed(1)} frames/s, needs ${facts.frameRate}` : "";
      part(".rflav-state").textContent = engine.state() + made;
      part(".rflav-message").textContent = message;
    };
    const show = (picture) => paint(canvas, picture);
    engine.screens.add(show);
    refreshers.add(refresh);
    refresh();
    return () => {
      refreshers.delete(refresh);
      engine.screens.delete(show);
      listeners.forEach(([event, listen]) => model.off(event, listen));
      root.remove();
    };
  }

  return { initialize, render };
};
