"use strict";
// The compiled network: memory in, detections and bytes out. No part of the page's surface.

function decodeBase64(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

const STATUS = ["ok", "null pointer", "a side of the picture is out of range", "a number is out of range",
  "the scratch memory is too small", "memory is not aligned", "a buffer is too small"];
const PAGE_BYTES = 65536; // of WebAssembly's memory
const DETECTION_BYTES = 24; // edk_detection: four floats, a float, an int32

class Network {
  // data: what the deployment wrote; plain: leave SIMD out even where the browser has it.
  static async open(data, plain) {
    const embedded = (id) => decodeBase64(document.getElementById(id).textContent);
    const simd = plain ? null : embedded("simd");
    const hasSimd = simd !== null && WebAssembly.validate(simd);
    const network = new Network();
    network.build = hasSimd ? "simd" : "plain";
    network.data = data;
    network.watch = null;
    const env = { edgedet_web_on_step: (step) => network.watch && network.watch(step) };
    const compiled = await WebAssembly.compile(hasSimd ? simd : embedded("plain"));
    network.exports = (await WebAssembly.instantiate(compiled, { env })).exports;
    for (const name of ["weights", "words", "indices"]) {
      network.memory().set(embedded(name), network.exports[`edgedet_${name}`].value);
    }
    network.arena = network.exports.edgedet_web_arena();
    return network;
  }

  // The view is new each time: growing the memory ends the life of older ones.
  memory() {
    return new Uint8Array(this.exports.memory.buffer);
  }

  bytes(offset, count) {
    return this.memory().slice(this.arena + offset, this.arena + offset + count);
  }

  // Picture to input. rgba: opaque pixels, row after row.
  prepare(rgba, width, height) {
    const { exports } = this;
    const scratchBytes = exports.edgedet_web_scratch_bytes(width, height);
    if (scratchBytes === 0) throw new Error(`the picture is ${width}x${height} px; its sides may have 1 to 65535`);
    const scratch = Math.ceil(exports.__heap_base.value / 16) * 16;
    const pixels = Math.ceil((scratch + scratchBytes) / 16) * 16;
    const missing = pixels + rgba.length - exports.memory.buffer.byteLength;
    if (missing > 0) exports.memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.memory().set(rgba, pixels);
    this.check(exports.edgedet_web_prepare(pixels, width, height, scratch, scratchBytes));
    this.input = this.bytes(this.data.input.offset, this.data.input.bytes);
  }

  // Run the network on `input`, which a run overwrites in the arena.
  invoke() {
    this.memory().set(this.input, this.arena + this.data.input.offset);
    this.check(this.exports.edgedet_web_invoke());
  }

  outputs() {
    return this.data.outputs.map((tensor) => this.bytes(tensor.offset, tensor.bytes));
  }

  // Detections of the last run; position: of the score's slider; ofPicture: in px of the picture, else of the input.
  detect(position, nmsIou, ofPicture = true) {
    const count = this.exports.edgedet_web_detect(position, nmsIou);
    this.check(count < 0 ? -count : 0);
    const start = this.exports.edgedet_web_detections(ofPicture ? 1 : 0);
    const view = new DataView(this.exports.memory.buffer, start, count * DETECTION_BYTES);
    const found = [];
    for (let at = 0; at < count * DETECTION_BYTES; at += DETECTION_BYTES) {
      found.push({
        box: [0, 4, 8, 12].map((i) => view.getFloat32(at + i, true)),
        score: view.getFloat32(at + 16, true),
        label: view.getInt32(at + 20, true),
      });
    }
    return found;
  }

  // Bytes of what a step computes. They are gone when the run ends, so it runs once more.
  layer(layer) {
    let bytes = null;
    this.watch = (step) => {
      if (step === layer.step) bytes = this.gather(layer);
    };
    try {
      this.invoke();
    } finally {
      this.watch = null;
    }
    return bytes;
  }

  // A tensor's pixels may lie inside the wider pixels of a joined one.
  gather(layer) {
    const { offset, pixels, pixel_bytes: size, pitch_bytes: pitch } = layer;
    if (size === pitch) return this.bytes(offset, pixels * size);
    const wide = this.bytes(offset, (pixels - 1) * pitch + size), bytes = new Uint8Array(pixels * size);
    for (let i = 0; i < pixels; i++) bytes.set(wide.subarray(i * pitch, i * pitch + size), i * size);
    return bytes;
  }

  // How many output bytes differ from the simulator's, for the input that came with the page.
  selfTest() {
    const { golden } = this.data;
    this.input = decodeBase64(golden.input);
    this.invoke();
    let differing = 0, all = 0;
    this.outputs().forEach((bytes, index) => {
      const expected = decodeBase64(golden.outputs[index]);
      all += expected.length;
      expected.forEach((byte, at) => { differing += byte !== bytes[at]; });
    });
    this.input = null;
    return { differing, all };
  }

  check(status) {
    if (status !== 0) throw new Error(STATUS[status] ?? `status ${status}`);
  }
}
