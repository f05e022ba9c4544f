/** @file Opens files of torch.save (.pt, .bin, .pth) without running code. It reads the names of the tensors first, and each tensor's
 *  numbers by range when they are needed.
 *
 *    since PyTorch 1.6   a zip file: <name>/data.pkl, the pickle, and <name>/data/<key>, one storage each, as in memory
 *    before              several pickles: a magic number, the format's version, facts about the machine, the data, the keys of the
 *                        storages; then each storage: the number of elements (8 bytes), and the numbers
 *
 *  (Reference: torch/serialization.py.) Numbers are little-endian in both. Storages have no checksum that PyTorch itself checks. */

import { DTYPE_BYTES } from "../checkpoint/dtypes.ts";
import { Cursor } from "./cursor.ts";
import { isKind, type Site, storageOf } from "./names.ts";
import { bytesSource, damaged, type FileSource, fileSource, refused, type Source } from "./source.ts";
import { unpickle } from "./unpickle.ts";
import { described, type Storage, type Value, type View } from "./values.ts";
import { entryStart, inflated, type ZipEntry, zipEntries } from "./zip.ts";

export interface TorchTensors {
  /** The file's name in errors. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, View>;
  /** Values other than tensors, with a description: "epoch" -> "a number". */
  readonly others: ReadonlyMap<string, string>;
  /** Bytes of all the storages together. */
  readonly bytes: number;
  /** Bytes of a storage, from `start` on. */
  readStorage(storage: Storage, start: number, length: number): Uint8Array<ArrayBuffer>;
}

export interface TorchFile extends TorchTensors, Disposable {}

/** Opens the file `path`: reads its directory and its pickle. */
export function openTorchFile(path: string): TorchFile {
  const source: FileSource = fileSource(path);
  try {
    return { ...torchTensors(source), [Symbol.dispose]: () => source.close() };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** The tensors of an open file. */
export function torchTensors(source: Source): TorchTensors {
  const start = source.read(0, Math.min(source.size, 512));
  const text = new TextDecoder("latin1").decode(start);
  if (text.startsWith("PK\x03\x04")) return zipTensors(source);
  if (start[0] === 0x80 && (start[1] ?? 0) >= 1) return legacyTensors(source);
  if (text.startsWith("version https://git-lfs")) {
    throw refused(source.name, "The file is a Git LFS pointer, not the file itself.", "Fetch it with: git lfs pull.");
  }
  if (text.slice(257, 262) === "ustar") throw refused(source.name, "The file is a tar file, as PyTorch 0.1 saved them.", AGAIN);
  throw damaged(source.name, "it is neither a zip file nor a pickle.");
}
const AGAIN = "Load it with a PyTorch of its time and save it again.";

function zipTensors(source: Source): TorchTensors {
  const entries = zipEntries(source);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const root = pickles[0]?.slice(0, -"/data.pkl".length);
  if (root === undefined || pickles.length > 1) {
    throw damaged(source.name, `it is a zip file with ${pickles.length === 0 ? "no" : "more than one"} data.pkl.`);
  }
  if (entries.has(`${root}/constants.pkl`)) throw refused(source.name, "The file is a TorchScript program, not tensors.");
  checkByteOrder(source, entries.get(`${root}/byteorder`));
  const find = (key: string, site: Site): ZipEntry => {
    const entry = entries.get(`${root}/data/${key}`);
    if (entry) return entry;
    throw damaged(site.where(), `its pickle speaks of storage ${JSON.stringify(key.slice(0, 80))}, which the zip file does not hold.`);
  };
  const storages = new Map<string, Storage>();
  const persistent = (id: Value, site: Site) => {
    const storage = interned(storages, storageOf(id, site), site);
    const { size } = find(storage.key, site);
    if (size < storage.bytes) {
      throw damaged(site.where(), `storage ${storage.key} has ${size} bytes; its pickle claims ${storage.bytes}.`);
    }
    return storage;
  };
  const pickled = entries.get(`${root}/data.pkl`)!;
  const value = unpickle(pickleCursor(source, pickled), persistent);
  const readStorage = storageReader(source, (key) => entries.get(`${root}/data/${key}`)!);
  return { name: source.name, ...flattened(value, source.name), bytes: total(storages), readStorage };
}

function pickleCursor(source: Source, entry: ZipEntry): Cursor {
  const name = `${source.name}, ${entry.name}`;
  if (entry.deflated) return new Cursor(bytesSource(inflated(source, entry), name));
  const start = entryStart(source, entry);
  return new Cursor({ ...source, name, size: source.size }, start, start + entry.size);
}

function checkByteOrder(source: Source, entry: ZipEntry | undefined): void {
  if (!entry) return;
  const bytes = entry.deflated ? inflated(source, entry) : source.read(entryStart(source, entry), Math.min(entry.size, 16));
  const order = new TextDecoder().decode(bytes);
  if (order !== "little") throw refused(source.name, `The file's numbers have the byte order ${JSON.stringify(order)}; known is "little".`);
}

/** Ranges of stored entries come from the file; of deflated entries the last one is kept. */
function storageReader(source: Source, entryOf: (key: string) => ZipEntry): TorchTensors["readStorage"] {
  let last: { key: string; bytes: Uint8Array<ArrayBuffer> } | undefined;
  return ({ key, start }, from, length) => {
    const entry = entryOf(key);
    if (!entry.deflated) return source.read(entryStart(source, entry) + start + from, length);
    if (last?.key !== key) last = { key, bytes: inflated(source, entry) };
    return bytesSource(last.bytes, source.name).read(start + from, length);
  };
}

const MAGIC = 0x1950a86a20f9469cfc6cn;

function legacyTensors(source: Source): TorchTensors {
  const cursor = new Cursor(source);
  const plain = () =>
    unpickle(cursor, (_, site) => {
      throw damaged(site.where(), "a storage before the data.");
    });
  if (plain() !== MAGIC) {
    throw refused(source.name, "The file is a Python pickle, and not one that torch.save wrote.", AGAIN_TENSORS);
  }
  const version = plain();
  if (version !== 1001) throw refused(source.name, `The file's format is ${String(version)}; known is 1001.`, AGAIN);
  const facts = plain();
  if (isKind(facts, "dict") && facts.entries?.get("little_endian") === false) {
    throw refused(source.name, "The file's numbers have the byte order of a big-endian machine.", AGAIN);
  }
  const storages = new Map<string, Storage>();
  const wholes = new Map<string, number>(); // key -> bytes needed by its views
  const value = unpickle(cursor, (id, site) => {
    const storage = storageOf(id, site);
    wholes.set(storage.key, Math.max(wholes.get(storage.key) ?? 0, storage.start + storage.bytes));
    return interned(storages, storage, site);
  });
  const places = legacyPlaces(cursor, plain(), storages);
  for (const [key, bytes] of wholes) {
    const place = places.get(key);
    if (!place || place.bytes < bytes)
      throw damaged(source.name, `storage ${key} has ${place?.bytes ?? 0} bytes; its pickle claims ${bytes}.`);
  }
  const readStorage: TorchTensors["readStorage"] = ({ key, start }, from, length) =>
    source.read(places.get(key)!.offset + start + from, length);
  return { name: source.name, ...flattened(value, source.name), bytes: total(storages), readStorage };
}
const AGAIN_TENSORS = "Save its tensors with torch.save(state_dict, ...) or safetensors.torch.save_file.";

/** The position of each storage; storages follow each other in the order of `keys`. */
function legacyPlaces(cursor: Cursor, keys: Value, storages: ReadonlyMap<string, Storage>): Map<string, { offset: number; bytes: number }> {
  const places = new Map<string, { offset: number; bytes: number }>();
  if (!isKind(keys, "list")) throw damaged(cursor.where(), `${described(keys)} where the storages' keys belong.`);
  for (const key of keys.items) {
    const name = key instanceof Uint8Array ? new TextDecoder("latin1").decode(key) : String(key);
    const storage = storages.get(name);
    if (!storage || places.has(name)) throw damaged(cursor.where(), `storage ${JSON.stringify(name.slice(0, 80))} belongs to no tensor.`);
    const numbers = cursor.unsigned(8);
    const bytes = numbers * (storage.dtype === undefined ? 1 : DTYPE_BYTES[storage.dtype]);
    if (!(bytes <= cursor.end - cursor.position))
      throw damaged(cursor.where(), `storage ${name} has ${bytes} bytes and ends after the file.`);
    places.set(name, { offset: cursor.position, bytes });
    cursor.position += bytes;
  }
  return places;
}

/** One object for each storage, for any number of views. */
function interned(storages: Map<string, Storage>, storage: Storage, site: Site): Storage {
  const known = storages.get(storage.key);
  if (!known) {
    storages.set(storage.key, storage);
    return storage;
  }
  if (known.dtype === storage.dtype && known.bytes === storage.bytes && known.start === storage.start) return known;
  site.charge(1);
  return storage;
}

function total(storages: ReadonlyMap<string, Storage>): number {
  return [...storages.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A state dict: names and tensors. */
function flattened(value: Value, where: string): Pick<TorchTensors, "tensors" | "others"> {
  if (!isKind(value, "dict")) {
    const what = `The file holds ${described(value)}; expected a dict of names and tensors.`;
    throw refused(where, what, "Save a state dict: torch.save(model.state_dict(), ...).");
  }
  const tensors = new Map<string, View>();
  const others = new Map<string, string>();
  for (const [key, item] of value.entries ?? []) {
    const name = key instanceof Uint8Array ? new TextDecoder("latin1").decode(key) : typeof key === "object" ? described(key) : String(key);
    if (isKind(item, "tensor") && typeof key !== "object") tensors.set(name, item);
    else others.set(name, described(item));
  }
  return { tensors, others };
}
