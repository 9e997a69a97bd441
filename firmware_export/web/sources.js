// Where pixels come from: picture files, and a video or camera frame by frame.

// Upright pixels as the file has them: no conversion of colours; what is transparent lies over white.
async function pixelsOfFile(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height, true);
  } finally {
    bitmap.close();
  }
}

const readCanvas = document.createElement("canvas");
const readContext = readCanvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });

function isTransparent({ data }) {
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] !== 255) return true;
  }
  return false;
}

function pixelsOf(source, width, height, mayBeTransparent = false) {
  if (readCanvas.width !== width || readCanvas.height !== height) {
    readCanvas.width = width;
    readCanvas.height = height;
  }
  const read = () => {
    readContext.drawImage(source, 0, 0, width, height);
    return readContext.getImageData(0, 0, width, height);
  };
  if (!mayBeTransparent) return { image: read(), transparent: false };
  readContext.clearRect(0, 0, width, height);
  const image = read(), transparent = isTransparent(image);
  if (!transparent) return { image, transparent };
  readContext.fillStyle = "#fff";
  readContext.fillRect(0, 0, width, height);
  return { image: read(), transparent };
}

// A video that plays: calls `each` with the pixels of a frame, as often as the network is ready for one.
class Film {
  constructor(each, failed) {
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.loop = true;
    this.video.playsInline = true;
    this.each = each;
    this.failed = failed;
    this.ended = false;
  }

  static async ofFile(file, each, failed) {
    const film = new Film(each, failed);
    film.url = URL.createObjectURL(file);
    film.video.src = film.url;
    await film.start();
    return film;
  }

  static async ofCamera(each, failed) {
    if (!navigator.mediaDevices) {
      throw new Error("the browser gives a camera only to files, to localhost and to https pages");
    }
    const film = new Film(each, failed);
    film.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    film.video.srcObject = film.stream;
    await film.start();
    return film;
  }

  async start() {
    try {
      await this.video.play();
    } catch (error) {
      this.stop();
      throw error;
    }
    this.next();
  }

  next() {
    requestAnimationFrame(() => {
      if (this.ended) return;
      const { videoWidth: width, videoHeight: height, paused } = this.video;
      try {
        if (!paused && width > 0) this.each(pixelsOf(this.video, width, height));
      } catch (error) {
        this.stop();
        this.failed(error);
        return;
      }
      this.next();
    });
  }

  stop() {
    this.ended = true;
    this.video.pause();
    if (this.stream) this.stream.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.video.removeAttribute("src"); // or it would load the address again, which is revoked
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}
