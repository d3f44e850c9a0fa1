/** What the model is: `bundle.json`. */
export interface About {
  readonly name: string;
  readonly summary: string;
  readonly file: string;
  readonly format: "onnx";
  readonly precision: string;
  readonly sha256: string;
  readonly size_bytes: number;
  readonly task: "classification" | "multilabel" | "segmentation" | "detection" | "embedding";
  readonly class_names: readonly string[];
  readonly thresholds: readonly number[];
  readonly image_size: number;
  readonly aspect: "stretch" | "crop" | "letterbox";
  readonly tolerance: number;
  readonly license: string;
  readonly run_digest: string;
}

/** Upright pixels, RGBA, four bytes each. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** A path or URL of a PNG or JPEG file, the bytes of one, or pixels. */
export type Picture = string | URL | Uint8Array | Pixels;

/** A box as y1, x1, y2, x2 in shares of the square that the model sees. */
export type Box = [number, number, number, number];

/** What the model says of a picture; which of these depends on its task. */
export interface Answer {
  /** classification */
  class_name?: string;
  /** classification */
  probability?: number;
  /** classification, multilabel: by class, the likeliest first */
  probabilities?: Record<string, number>;
  /** multilabel: those at or above their threshold */
  labels?: string[];
  /** segmentation: the class that takes most of the picture */
  largest?: string;
  /** segmentation: shares of the picture by class */
  areas?: Record<string, number>;
  /** segmentation: the class of every pixel of the square, row by row */
  classes?: Uint8Array;
  /** detection */
  count?: number;
  /** detection: the surest first */
  boxes?: { class_name: string; score: number; box: Box }[];
  /** embedding: of unit length */
  embedding?: number[];
}

export interface Compared {
  readonly difference: number;
  readonly passed: boolean;
}

export interface OpenModel {
  readonly about: About;
  ask(picture: Picture): Promise<Answer>;
  compare(picture: Picture, golden: object): Promise<Compared>;
}

export const about: About;
/** A picture cannot be read; the message says why. */
export class PictureError extends Error {}
/** Opens the model; rejects where it is not the file that was proven. */
export function open(): Promise<OpenModel>;
/** Compares the answers to the golden pictures with what they must be. */
export function selftest(opened?: OpenModel): Promise<(Compared & { readonly picture: string })[]>;
/** Decodes a PNG or JPEG file. */
export function decoded(encoded: Uint8Array, name?: string): Pixels;
