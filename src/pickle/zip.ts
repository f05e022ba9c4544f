/** @file The directory of a zip file, with zip64. The reader trusts nothing in it (format: PKWARE's APPNOTE.TXT).
 *
 *    end of the directory (22 bytes and a comment)   number of entries, offset of the directory; 0xffffffff: see the zip64 record
 *    directory   for each entry its method, sizes, name, and the offset of its local header
 *    local header (30 bytes, name, extra), then the entry's bytes
 *
 *  PyTorch stores entries uncompressed. Deflated entries, which other tools make, are inflated completely and checked. */

import { crc32, inflateRawSync } from "node:zlib";
import { damaged, refused, type Source } from "./source.ts";

export interface ZipEntry {
  readonly name: string;
  readonly deflated: boolean;
  readonly crc: number;
  /** Bytes in the file, and after inflating. */
  readonly packed: number;
  readonly size: number;
  /** The offset of its local header. */
  readonly header: number;
}

const [END, END64, LOCATOR, DIRECTORY, LOCAL] = [0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50, 0x04034b50];
const NOT_HERE = 0xffffffff;
/** The largest possible ratio of deflating. */
const BEST_RATIO = 1032;
const LARGEST_INFLATED = 2 ** 31;
const LARGEST_DIRECTORY = 2 ** 28;

const UTF8 = new TextDecoder();

/** Reads the directory. */
export function zipEntries(source: Source): Map<string, ZipEntry> {
  const { count, offset, bytes } = directoryPlace(source);
  if (bytes > LARGEST_DIRECTORY) throw damaged(source.name, `its zip directory claims ${bytes} bytes.`);
  const directory = source.read(offset, bytes);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < bytes; ) {
    const { entry, length } = directoryEntry(source, directory.subarray(at));
    if (entries.has(entry.name)) throw damaged(source.name, `its zip directory names ${JSON.stringify(entry.name)} twice.`);
    entries.set(entry.name, entry);
    at += length;
  }
  if (entries.size !== count) throw damaged(source.name, `its zip directory has ${entries.size} entries and claims ${count}.`);
  return entries;
}

/** The offset of an entry's bytes, compressed or not. */
export function entryStart(source: Source, { name, header, packed }: ZipEntry): number {
  const local = view(source.read(header, 30));
  if (local.getUint32(0, true) !== LOCAL) throw damaged(source.name, `zip entry ${JSON.stringify(name)} has no header at byte ${header}.`);
  const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (start + packed > source.size) throw damaged(source.name, `zip entry ${JSON.stringify(name)} ends after the file does.`);
  return start;
}

/** Inflates a deflated entry. */
export function inflated(source: Source, entry: ZipEntry): Uint8Array<ArrayBuffer> {
  const { name, packed, size, crc } = entry;
  const bad = (what: string, cause?: unknown) => damaged(source.name, `zip entry ${JSON.stringify(name)} ${what}`, cause);
  if (size > packed * BEST_RATIO + BEST_RATIO) throw bad(`claims ${size} bytes in ${packed} deflated ones, more than can be.`);
  if (size > LARGEST_INFLATED) throw refused(source.name, `Zip entry ${JSON.stringify(name)} is deflated and has ${size} bytes.`, UNPACK);
  let bytes: Buffer<ArrayBuffer>;
  try {
    bytes = inflateRawSync(source.read(entryStart(source, entry), packed), { maxOutputLength: Math.max(1, size) });
  } catch (cause) {
    throw bad("cannot be inflated.", cause);
  }
  if (bytes.length !== size) throw bad(`claims ${size} bytes and inflates to ${bytes.length}.`);
  if (crc32(bytes) !== crc) throw bad("does not have the checksum that it claims.");
  return bytes;
}
const UNPACK = "Load it with PyTorch (weights_only=True) and save it again, which stores tensors as they are.";

function directoryPlace(source: Source): { count: number; offset: number; bytes: number } {
  const length = Math.min(source.size, 22 + 0xffff);
  const from = source.size - length;
  const tail = view(source.read(from, length));
  let at = length - 22;
  while (at >= 0 && !(tail.getUint32(at, true) === END && at + 22 + tail.getUint16(at + 20, true) === length)) at--;
  if (at < 0) throw damaged(source.name, "it begins as a zip file and has no directory at its end: it is cut short.");
  const [disk, first] = [tail.getUint16(at + 4, true), tail.getUint16(at + 6, true)];
  const place = { count: tail.getUint16(at + 10, true), bytes: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
  const isWide = at >= 20 && tail.getUint32(at - 20, true) === LOCATOR;
  if (isWide) return widePlace(source, wide(source, tail, at - 20 + 8));
  if (disk !== 0 || first !== 0) throw refused(source.name, "The file is one part of a zip file in several.", "Join the parts first.");
  return place;
}

function widePlace(source: Source, at: number): { count: number; offset: number; bytes: number } {
  const record = view(source.read(at, 56));
  if (record.getUint32(0, true) !== END64) throw damaged(source.name, `it has no zip64 record at byte ${at}.`);
  return { count: wide(source, record, 32), bytes: wide(source, record, 40), offset: wide(source, record, 48) };
}

function directoryEntry(source: Source, bytes: Uint8Array): { entry: ZipEntry; length: number } {
  const bad = (what: string) => damaged(source.name, `its zip directory ${what}`);
  const fields = view(bytes);
  if (bytes.length < 46 || fields.getUint32(0, true) !== DIRECTORY) throw bad("has something else than an entry.");
  const [nameLength, extraLength, comment] = [28, 30, 32].map((offset) => fields.getUint16(offset, true)) as [number, number, number];
  const length = 46 + nameLength + extraLength + comment;
  if (length > bytes.length) throw bad("ends within an entry.");
  const name = UTF8.decode(bytes.subarray(46, 46 + nameLength));
  const method = fields.getUint16(10, true);
  if ((fields.getUint16(8, true) & 1) !== 0) throw refused(source.name, `Zip entry ${JSON.stringify(name)} is encrypted.`);
  if (method !== 0 && method !== 8) throw refused(source.name, `Zip entry ${JSON.stringify(name)} is packed by method ${method}.`, UNPACK);
  const [size, packed, header] = wideFields(
    source,
    [fields.getUint32(24, true), fields.getUint32(20, true), fields.getUint32(42, true)],
    bytes.subarray(46 + nameLength, 46 + nameLength + extraLength),
  );
  if (method === 0 && size !== packed) throw bad(`gives ${JSON.stringify(name)}, which is not packed, two sizes: ${packed} and ${size}.`);
  return { entry: { name, deflated: method === 8, crc: fields.getUint32(16, true), packed, size, header }, length };
}

/** Numbers that did not fit into 32 bits are in the extra field of kind 1, in this order. */
function wideFields(source: Source, narrow: readonly [number, number, number], extra: Uint8Array): readonly [number, number, number] {
  if (!narrow.includes(NOT_HERE)) return narrow;
  const fields = view(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + fields.getUint16(at + 2, true)) {
    if (fields.getUint16(at, true) !== 1) continue;
    let next = at + 4;
    const end = Math.min(extra.length, next + fields.getUint16(at + 2, true));
    const widened = narrow.map((value) => {
      if (value !== NOT_HERE) return value;
      next += 8;
      if (next > end) throw damaged(source.name, "a zip64 field of its zip directory is cut short.");
      return wide(source, fields, next - 8);
    });
    return widened as [number, number, number];
  }
  return narrow;
}

function wide(source: Source, bytes: DataView, at: number): number {
  const value = Number(bytes.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) throw damaged(source.name, "its zip directory has a number larger than any file.");
  return value;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
