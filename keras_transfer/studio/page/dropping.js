// Files and folders that are dropped or pasted anywhere on the page.

/** Calls taken(files) with [{ file, folder }], folder being the name of the innermost folder a file came in, or "". */
export function dropping(taken) {
  const over = (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  };
  const gone = () => document.body.classList.remove("over");
  const drop = async (event) => {
    event.preventDefault();
    gone();
    const files = await filesOf(event.dataTransfer);
    if (files.length) taken(files);
  };
  const paste = ({ clipboardData }) => {
    const files = [...(clipboardData?.files ?? [])].map((file) => ({ file, folder: "" }));
    if (files.length) taken(files);
  };
  const heard = { dragover: over, dragleave: gone, drop, paste };
  for (const [name, hear] of Object.entries(heard)) addEventListener(name, hear);
  return () => {
    for (const [name, hear] of Object.entries(heard)) removeEventListener(name, hear);
  };
}

async function filesOf(transfer) {
  const entries = [...transfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: "" }));
  return (await Promise.all(entries.map((each) => walked(each, "")))).flat();
}

async function walked(entry, folder) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return [{ file: await new Promise((done, failed) => entry.file(done, failed)), folder }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((each) => walked(each, entry.name)))).flat();
}

/** The files of an <input>, which tells the folders of a folder that was chosen. */
export const chosenFiles = (input) =>
  [...input.files].map((file) => ({ file, folder: file.webkitRelativePath?.split("/").at(-2) ?? "" }));
