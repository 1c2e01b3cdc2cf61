// The browser's half of user_study.py: shows two videos, takes two answers, by mouse or by keyboard.

const PAGE = `
  <div class="rflav-study" tabindex="0" data-lm-suppress-shortcuts="true" role="group" aria-label="user study">
    <form class="rflav-welcome">
      <p>You will see <b class="rflav-total"></b> pairs of videos with sound. Please use headphones or loudspeakers.</p>
      <label>Your name, or any word that stands for it: <input class="rflav-rater" autocomplete="off"></label>
      <button>Begin</button>
    </form>
    <div class="rflav-trial">
      <p>Pair <b class="rflav-number"></b> of <span class="rflav-total"></span></p>
      <div class="rflav-videos">
        <figure><video playsinline></video><figcaption><button type="button">Play left (1)</button></figcaption></figure>
        <figure><video playsinline></video><figcaption><button type="button">Play right (2)</button></figcaption></figure>
      </div>
      <div class="rflav-questions"></div>
      <button type="button" class="rflav-send">Next pair (Enter)</button>
      <p class="rflav-keys">Keys: 1 and 2 play; ← and → answer the marked question; ↑ and ↓ mark another;
        Enter goes on. Answers open when both videos have been played.</p>
    </div>
    <p class="rflav-done">That was all. Thank you!</p>
    <p class="rflav-message" role="status" aria-live="polite"></p>
  </div>`;

function render({ model, el }) {
  el.innerHTML = PAGE;
  const root = el.firstElementChild;
  const all = (selector) => [...root.querySelectorAll(selector)];
  const part = (selector) => root.querySelector(selector);
  const videos = all("video");
  const names = model.get("questions").map(([name]) => name);
  let number = 0; // of the trial whose videos are shown
  let chosen = {};
  let plays = [0, 0];
  let active = 0; // the question that the arrow keys answer
  let waiting = false; // for the kernel

  for (const [index, [name, text]] of model.get("questions").entries()) {
    const set = document.createElement("fieldset");
    set.dataset.question = name;
    set.innerHTML = `<legend></legend>
      <button type="button" data-side="left">← left</button><button type="button" data-side="right">right →</button>`;
    set.firstElementChild.textContent = text;
    for (const button of set.querySelectorAll("button")) {
      button.addEventListener("click", () => choose(index, button.dataset.side));
    }
    part(".rflav-questions").append(set);
  }

  const seen = () => plays.every((count) => count > 0);
  const complete = () => seen() && !waiting && names.every((name) => chosen[name]);

  function play(side) {
    if (waiting) return; // what is on the screen is the last pair
    videos[1 - side].pause(); // two sounds at once tell nothing
    videos[side].currentTime = 0;
    videos[side].play().catch(() => {}); // interrupted by the next one
  }

  function choose(index, side) {
    if (!seen() || waiting) return;
    chosen[names[index]] = side;
    active = Math.min(index + 1, names.length - 1);
    refresh();
  }

  function send() {
    if (!complete()) return;
    waiting = true;
    videos.forEach((video) => video.pause());
    model.send({ kind: "answer", number, plays, ...chosen });
    refresh();
  }

  function refresh() {
    const { phase, number: now, total, message } = model.get("state");
    part(".rflav-welcome").hidden = phase !== "welcome";
    part(".rflav-trial").hidden = phase !== "trial";
    part(".rflav-done").hidden = phase !== "done";
    all(".rflav-total").forEach((place) => (place.textContent = total));
    part(".rflav-number").textContent = now;
    part(".rflav-message").textContent = message;
    all("fieldset").forEach((set, index) => {
      set.disabled = !seen() || waiting;
      set.classList.toggle("rflav-active", index === active);
      for (const button of set.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(chosen[set.dataset.question] === button.dataset.side));
      }
    });
    part(".rflav-send").disabled = !complete();
  }

  function show(content, buffers) {
    if (content.kind !== "videos") return;
    videos.forEach((video, side) => {
      URL.revokeObjectURL(video.src);
      video.src = URL.createObjectURL(new Blob([buffers[side]], { type: "video/mp4" }));
    });
    [number, chosen, plays, active, waiting] = [content.number, {}, [0, 0], 0, false];
    root.dataset.pair = number;
    refresh();
    root.focus({ preventScroll: true }); // so that keys work at once
  }

  function changed() {
    const { phase, number: now } = model.get("state");
    if (now !== number) [chosen, plays] = [{}, [0, 0]]; // the next pair's videos are on their way
    else waiting = false; // the answer was refused
    refresh();
    if (phase === "done") videos.forEach((video) => video.pause());
  }

  videos.forEach((video, side) => {
    video.addEventListener("play", () => {
      plays[side] += 1;
      refresh();
    });
    video.addEventListener("click", () => play(side));
  });
  all("figcaption button").forEach((button, side) => button.addEventListener("click", () => play(side)));
  part(".rflav-send").addEventListener("click", send);
  part(".rflav-welcome").addEventListener("submit", (event) => {
    event.preventDefault();
    model.send({ kind: "start", rater: part(".rflav-rater").value });
  });

  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // JupyterLab's own keys rest while the page has the focus
    if (model.get("state").phase !== "trial" || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      1: () => play(0),
      2: () => play(1),
      ArrowLeft: () => choose(active, "left"),
      ArrowRight: () => choose(active, "right"),
      ArrowUp: () => (active = Math.max(0, active - 1)),
      ArrowDown: () => (active = Math.min(names.length - 1, active + 1)),
      Enter: event.target.closest("button") ? null : send, // on a button, Enter presses it
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    refresh();
  });

  model.on("change:state", changed);
  model.on("msg:custom", show);
  refresh();
  if (model.get("state").phase === "trial") model.send({ kind: "videos" });
  return () => {
    model.off("change:state", changed);
    model.off("msg:custom", show);
    videos.forEach((video) => URL.revokeObjectURL(video.src));
  };
}

export default { render };
