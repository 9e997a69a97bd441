// The page: shows what the network finds. Texts of the model go through textContent alone.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const SHOWN_BYTES = 4096; // of a tensor, hexadecimal; a download has all of them
const KEPT_TIMES = 100;
const SHOWN_CLASSES = 8; // of thresholds
const VIEW_PX = [640, 1600]; // longest side of the picture on the page
let network = null; // opened by start()
let shown = null; // { name, image, transparent } of the picture on the stage
let pictures = []; // of the files that were opened
let film = null;
let times = []; // of the network, ms
let busy = Promise.resolve(); // pictures are opened one after another

function say(text, kind = "") {
  $("state").textContent = text;
  $("state").className = kind;
}

function fail(what, error) {
  say(`${what}: ${error.message || error.name || error}`, "bad");
}

function colour(label) {
  return `hsl(${(label * 137.5 + 210) % 360} 85% 50%)`;
}

function thresholds() {
  return [Number($("score").value), Number($("iou").value)];
}

function showThresholds() {
  const position = Number($("score").value), own = data.class_scores.map((score, label) => `${data.classes[label]} ${score}`);
  const ofClasses = position === data.contract_position && own.length > 0; // elsewhere one for all
  $("score-value").textContent = ofClasses
    ? `${own.slice(0, SHOWN_CLASSES).join(", ")}${own.length > SHOWN_CLASSES ? ", ..." : ""}, as in the contract`
    : String(data.scores[position]);
  $("iou-value").textContent = Number($("iou").value).toFixed(2);
}

function clock(part, work) {
  const start = performance.now();
  work();
  part.push(performance.now() - start);
}

// Everything for one picture or frame.
function run(name, { image, transparent }) {
  const part = [];
  clock(part, () => network.prepare(image.data, image.width, image.height));
  clock(part, () => network.invoke());
  shown = { name, image, transparent };
  clock(part, decode);
  times = [...times, part[1]].slice(-KEPT_TIMES);
  showTimes(part);
  draw();
}

function decode() {
  shown.found = network.detect(...thresholds());
}

function showTimes(part) {
  const sorted = [...times].sort((a, b) => a - b), cells = $("times").tBodies[0].rows[0].cells;
  [...part, sorted[sorted.length >> 1]].forEach((ms, index) => {
    cells[index].textContent = ms === null ? "-" : ms.toFixed(ms < 10 ? 2 : 1);
  });
}

function draw() {
  const { image, found, name } = shown, canvas = $("view"), context = canvas.getContext("2d");
  const longest = Math.max(image.width, image.height);
  const scale = Math.min(Math.max(longest, VIEW_PX[0]), VIEW_PX[1]) / longest;
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  context.imageSmoothingQuality = "high";
  context.drawImage(readCanvas, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(1, Math.max(canvas.width, canvas.height) / 640);
  context.lineWidth = 2 * unit;
  context.font = `${Math.round(13 * unit)}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const { box, score, label } of [...found].reverse()) drawBox(context, box.map((side) => side * scale), score, label, unit);
  const words = found.slice(0, 10).map(({ label, score }) => `${data.classes[label]} ${score.toFixed(2)}`);
  canvas.setAttribute("aria-label", `${name}: ${found.length} detections${words.length ? `: ${words.join(", ")}` : ""}`);
  showFound();
}

function drawBox(context, [left, top, right, bottom], score, label, unit) {
  const text = `${data.classes[label]} ${score.toFixed(2)}`, height = 17 * unit;
  const width = context.measureText(text).width + 6 * unit, above = top >= height ? top - height : top;
  const start = Math.max(0, Math.min(left, context.canvas.width - width)); // not over the edge
  context.strokeStyle = context.fillStyle = colour(label);
  context.strokeRect(left, top, right - left, bottom - top);
  context.fillRect(start, above, width, height);
  context.fillStyle = "#fff";
  context.strokeStyle = "#000";
  context.save();
  context.lineWidth = 2 * unit;
  context.strokeText(text, start + 3 * unit, above + 2 * unit);
  context.restore();
  context.fillText(text, start + 3 * unit, above + 2 * unit);
}

function showFound() {
  const rows = shown.found.map(({ box, score, label }) => {
    const row = document.createElement("tr"), name = document.createElement("td"), dot = document.createElement("i");
    name.className = "t";
    dot.className = "dot";
    dot.style.background = colour(label);
    name.append(dot, data.classes[label]);
    row.append(name);
    for (const text of [score.toFixed(3), ...box.map((side) => side.toFixed(1))]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  $("found").tBodies[0].replaceChildren(...rows);
  $("found").caption.textContent = `Detections: ${rows.length}`;
  const { image, transparent } = shown;
  $("note").textContent = `${shown.name}, ${image.width}x${image.height} px` + (transparent
    ? "; it has transparent pixels, which the browser lays over white and may round by one otherwise than edgedet" : "");
}

function afterRun() {
  $("measure").disabled = $("tensor").disabled = $("download").disabled = false;
  showBytes();
}

// Pictures

async function openFiles(files) {
  stopFilm();
  const videos = files.filter((file) => file.type.startsWith("video/"));
  if (videos.length) {
    await watch(() => Film.ofFile(videos[0], (pixels) => run(videos[0].name, pixels), filmFailed), videos[0].name);
    return;
  }
  const failed = [];
  pictures = [];
  for (const file of files) {
    try {
      run(file.name, await pixelsOfFile(file));
      pictures.push(file);
      showList(pictures.length - 1);
      await new Promise((done) => setTimeout(done)); // lets the browser show it
    } catch (error) {
      failed.push(`${file.name} (${error.message || error.name})`);
    }
  }
  if (pictures.length) afterRun();
  const done = `${pictures.length} ${pictures.length === 1 ? "picture" : "pictures"} done`;
  if (failed.length) say(`${done}; the browser can't open ${failed.join(", ")}`, "bad");
  else say(`${done}.`);
}

function showList(current) {
  $("pictures").replaceChildren(...(pictures.length < 2 ? [] : pictures).map((file, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = file.name;
    button.setAttribute("aria-current", String(index === current));
    button.addEventListener("click", () => enqueue(() => openAgain(index)));
    item.append(button);
    return item;
  }));
}

async function openAgain(index) {
  run(pictures[index].name, await pixelsOfFile(pictures[index]));
  afterRun();
  showList(index);
  $("pictures").children[index].firstChild.focus();
}

// Video and camera

async function watch(open, name) {
  pictures = [];
  times = [];
  showList(0);
  say(`Opening ${name}.`);
  try {
    film = await open();
  } catch (error) {
    throw new Error(`${name} can't be opened (${error.message || error.name})`);
  }
  $("pause").hidden = $("stop").hidden = false;
  $("pause").textContent = "Pause";
  say(`${name} is running.`);
}

function filmFailed(error) {
  stopFilm();
  fail("The video stopped", error);
}

function stopFilm() {
  if (film === null) return;
  film.stop();
  film = null;
  $("pause").hidden = $("stop").hidden = true;
  say("Stopped; the last frame is shown.");
  if (shown) afterRun();
}

function pauseFilm() {
  const { video } = film;
  if (video.paused) {
    video.play();
    say("Running.");
  } else {
    video.pause();
    say("Paused.");
    if (shown) afterRun();
  }
  $("pause").textContent = video.paused ? "Go on" : "Pause";
}

// Bytes

function fillTensors() {
  const option = (text, value) => new Option(text, value);
  const group = (label, options) => {
    const made = document.createElement("optgroup");
    made.label = label;
    made.append(...options);
    return made;
  };
  const described = (tensor) => `${tensor.name} ${tensor.dtype} ${tensor.shape.join("x")}`;
  $("tensor").append(
    group("Outputs", data.outputs.map((tensor, index) => option(described(tensor), `output ${index}`))),
    group("Input", [option(described(data.input), "input 0")]),
    group("Layers", data.layers.map((layer, index) => option(`${layer.step}: ${layer.kind} ${described(layer)}`, `layer ${index}`))),
  );
}

function chosenTensor() {
  const [kind, index] = $("tensor").value.split(" ");
  switch (kind) {
    case "input":
      return [data.input, network.input];
    case "output":
      return [data.outputs[index], network.outputs()[index]];
    default:
      return [data.layers[index], network.layer(data.layers[index])];
  }
}

function showBytes() {
  const [tensor, bytes] = chosenTensor(), lines = [];
  for (let at = 0; at < Math.min(bytes.length, SHOWN_BYTES); at += 16) {
    const row = [...bytes.subarray(at, at + 16)].map((byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${at.toString(16).padStart(6, "0")}  ${row.join(" ")}`);
  }
  if (bytes.length > SHOWN_BYTES) lines.push(`... ${bytes.length - SHOWN_BYTES} more in the download`);
  $("hex").textContent = lines.join("\n");
  const meaning = tensor.scale === null ? "" : `; real = (code - ${tensor.zero_point}) * ${tensor.scale}`;
  $("facts").textContent = `${bytes.length} bytes, ${tensor.dtype} [${tensor.shape.join(", ")}], NHWC${meaning}`;
}

function download() {
  const [tensor, bytes] = chosenTensor(), link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = `${tensor.name.replace(/[^A-Za-z0-9_.-]+/g, "_").slice(0, 60) || "tensor"}.bin`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function measure() {
  times = [];
  for (let i = 0; i < 20; i++) clock(times, () => network.invoke());
  showTimes([null, times[19], null]);
  say(`The network ran 20 times: ${Math.min(...times).toFixed(2)} to ${Math.max(...times).toFixed(2)} ms.`);
}

// Start

function enqueue(work) {
  busy = busy.then(work).catch((error) => fail("That did not work", error));
  return busy;
}

function listen() {
  for (const id of ["score", "iou"]) {
    $(id).addEventListener("input", () => {
      showThresholds();
      if (shown === null) return;
      decode();
      if (film === null || film.video.paused) draw();
    });
  }
  $("reset").addEventListener("click", () => {
    setThresholds();
    $("score").dispatchEvent(new Event("input"));
  });
  $("files").addEventListener("change", () => {
    const files = [...$("files").files];
    $("files").value = ""; // the same file may be chosen again
    enqueue(() => openFiles(files));
  });
  $("camera").addEventListener("click", () => enqueue(async () => {
    stopFilm();
    await watch(() => Film.ofCamera((pixels) => run("Camera", pixels), filmFailed), "the camera");
  }));
  $("pause").addEventListener("click", pauseFilm);
  $("stop").addEventListener("click", stopFilm);
  $("measure").addEventListener("click", measure);
  $("tensor").addEventListener("change", showBytes);
  $("download").addEventListener("click", download);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length) enqueue(() => openFiles(files));
  });
}

function setThresholds() {
  $("score").max = String(data.scores.length - 1);
  $("score").value = String(data.contract_position);
  $("iou").value = String(data.nms_iou);
  showThresholds();
}

async function start() {
  document.title = $("title").textContent = data.model;
  $("about").textContent = data.about;
  data.footer.split("`").forEach((text, place) => {
    const part = document.createElement(place % 2 ? "code" : "span");
    part.textContent = text;
    $("footer").append(part);
  });
  setThresholds();
  for (const element of document.querySelectorAll(".nms")) element.hidden = !data.has_nms;
  fillTensors();
  if (typeof WebAssembly !== "object") {
    say("This browser has no WebAssembly, so the network can't run here.", "bad");
    return;
  }
  const asked = location.hash === "#plain";
  network = await Network.open(data, asked);
  const build = network.build === "simd" ? "SIMD128" : asked
    ? "plain WebAssembly, as #plain in the address asks"
    : "plain WebAssembly, slower: this browser has no SIMD128";
  const { differing, all } = network.selfTest();
  if (differing) {
    say(`Self-test failed: ${differing} of ${all} output bytes differ from the simulator's (${build}).`, "bad");
    return;
  }
  say(`Self-test passed: 0 of ${all} output bytes differ from the simulator's (${build}).`, "good");
  listen();
}

start().catch((error) => fail("The network can't start", error));
