// Who or what an embedding is nearest to: the entries of the gallery in this bundle, then the pictures on the page.

const entries = []; // { name, embedding }, of unit length

/** Reads the gallery, where the bundle holds one. */
export async function open(about) {
  if (!about.gallery) return;
  const { names, embeddings } = await (await fetch("gallery.json")).json();
  names.forEach((name, place) => add(name, embeddings[place]));
}

export function add(name, embedding) {
  entries.push({ name, embedding });
}

/** Adds to an answer its cosines by name, the nearest first, and whether the nearest is taken for the same. */
export function compared(answer, about) {
  const cosines = new Map();
  for (const { name, embedding } of entries) {
    const cosine = embedding.reduce((sum, value, place) => sum + value * answer.embedding[place], 0);
    cosines.set(name, Math.max(cosine, cosines.get(name) ?? -1));
  }
  const ranked = [...cosines].sort(([, one], [, other]) => other - one);
  return { ...answer, ranked, same: ranked.length > 0 && ranked[0][1] >= about.thresholds[0] };
}
