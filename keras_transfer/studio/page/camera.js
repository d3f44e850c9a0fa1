// The camera in a dialog: single pictures, or a burst while a button is held.
import { field, make, many } from "./dom.js";

const EVERY = 200; // milliseconds between two pictures of a burst
const MOST_SIDE = 1024; // pixels
const QUALITY = 0.92;

const REFUSED = {
  NotAllowedError: "The camera was denied. Allow it beside the address of this page, then try again.",
  NotFoundError: "There is no camera here: choose or drop pictures instead.",
  NotReadableError: "The camera is used by another program. Close that, then try again.",
};

async function started() {
  if (!navigator.mediaDevices) throw new Error("Browsers give cameras to pages from https:// and from this machine only.");
  return navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch((error) => {
    throw new Error(REFUSED[error.name] ?? `The camera does not start: ${error.message}`);
  });
}

function pictureOf(video) {
  const scale = Math.min(1, MOST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = make("canvas", { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
}

/**
 * Opens the camera; take(blob) is given each picture. above: an element to choose what they are of; burst: whether
 * holding the button takes several. Ends when the dialog is closed; gives how many pictures there were.
 */
export async function camera({ take, above = null, label = "", burst = true }) {
  const stream = await started();
  const video = make("video", { muted: true, playsInline: true, srcObject: stream });
  const told = make("p", { className: "soft", role: "status" }, burst ? "Hold the button, or the space bar, for a burst." : "");
  const button = make("button", { type: "button", className: "main" }, burst ? "Hold to take pictures" : "Take a picture");
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Done");
  const dialog = make("dialog", { "aria-label": "Camera" }, make("div", {}, video, above ? field(label, above) : null, make("div", { className: "row" }, button, close), told));
  document.body.append(dialog);
  let [held, taken] = [false, 0];

  async function shoot() {
    if (held) return;
    held = true;
    do {
      const began = performance.now();
      try {
        await take(await pictureOf(video));
        taken += 1;
        told.textContent = `${many(taken, "picture")} taken.`;
      } catch (error) {
        told.textContent = error.message;
      }
      await new Promise((done) => setTimeout(done, Math.max(0, EVERY - (performance.now() - began))));
    } while (held && burst && dialog.open);
    held = false;
    if (!burst) dialog.close();
  }

  const release = () => (held = false);
  button.addEventListener("pointerdown", shoot);
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    shoot();
  });
  for (const name of ["pointerup", "pointerleave", "keyup", "blur"]) button.addEventListener(name, release);
  dialog.showModal();
  await video.play();
  await new Promise((done) => dialog.addEventListener("close", done));
  for (const track of stream.getTracks()) track.stop();
  dialog.remove();
  return taken;
}
