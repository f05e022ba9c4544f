/** @file The files of an expert that stay on disk: a tensor's numbers are read when they are used, such as when a pool is stacked.
 *
 *  All files of one expert are read at once, since many small reads take far longer than one large one, and compared with the hash that
 *  pool.json records. For a small expert this happens when it is opened, for a large one when its numbers are used first. Their bytes stay on a desk that the experts of a pool share: the next expert takes the place of the one before. A
 *  file that is read again must be the one that was compared, or it is compared again. */

import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { BOTTLENECK_CONFIG_FILE, BOTTLENECK_FILE, CONFIG_FILE, GATE_CONFIG_FILE, GATE_FILE, TENSOR_FILE } from "../adapters/file-names.ts";
import type { HostTensor } from "../base/tensor.ts";
import { codeOf } from "../checkpoint/atomic.ts";
import { openSafetensors, readTensor, type SafetensorsFile, type TensorInfo } from "../checkpoint/safetensors.ts";
import { parseSafetensors, storedTensor } from "../checkpoint/safetensors-bytes.ts";
import { realPath } from "./files.ts";
import type { OpenTensors } from "./tensor-source.ts";

/** The files that determine what an expert computes. */
export const HASHED_FILES = [CONFIG_FILE, TENSOR_FILE, BOTTLENECK_CONFIG_FILE, BOTTLENECK_FILE, GATE_CONFIG_FILE, GATE_FILE];

const SMALL = 8 * 2 ** 20; // bytes

/** The folder of an expert whose tensors stay in their files. */
export class ExpertFiles {
  readonly folder: string;
  readonly #sha256: string;
  readonly #changed: (cause?: unknown) => Error;
  readonly #desk: Desk;
  /** The state of the files that had the hash. */
  #compared = "";
  #isSmall: boolean | undefined;

  /** `changed`: the error for files that no longer have the hash `sha256`. */
  constructor(folder: string, { sha256, changed, desk }: { sha256: string; changed: (cause?: unknown) => Error; desk: Desk }) {
    this.folder = folder;
    this.#sha256 = sha256;
    this.#changed = changed;
    this.#desk = desk;
  }

  /** Opens one of the folder's files; its tensors are read when they are used. */
  readonly open: OpenTensors = async (path) => {
    const file = await this.#opened(path);
    const read = async (info: TensorInfo): Promise<HostTensor> => {
      if (info.file !== file.path) return readTensor(info);
      return storedTensor(info, (bytes) => this.#copy(basename(path), info, bytes)) ?? readTensor(info);
    };
    return { ...file, read };
  };

  /** The header of a file. The files of a small expert are read as a whole at once: for many small ones that is faster. */
  async #opened(path: string): Promise<SafetensorsFile> {
    this.#isSmall ??= HASHED_FILES.reduce((sum, name) => sum + sizeOf(join(this.folder, name)), 0) <= SMALL;
    if (!this.#isSmall) return openSafetensors(path);
    const file = await realPath(path);
    const bytes = this.#desk.bytesOf(this, basename(path)); // valid until the next await, in which another expert may be read
    if (!bytes) throw this.#changed();
    const { tensors, metadata } = parseSafetensors(bytes, file);
    return { path: file, tensors, metadata };
  }

  #copy(name: string, { offset, bytes }: TensorInfo, to: Uint8Array): void {
    const all = this.#desk.bytesOf(this, name);
    if (!all || all.length < offset + bytes) throw this.#changed();
    to.set(all.subarray(offset, offset + bytes));
  }

  /** Reads the files into one buffer, which `room` returns: all of them to compare them with the hash, later the file `name` alone. */
  read(name: string, room: (bytes: number) => Uint8Array): ReadonlyMap<string, Uint8Array> {
    const opened: OpenFile[] = [];
    try {
      for (const each of HASHED_FILES) opened.push(...openedIn(this.folder, each));
      const state = opened.map((file) => file.state).join();
      const wanted = state === this.#compared ? opened.filter((file) => file.name === name) : opened;
      const all = room(wanted.reduce((sum, { size }) => sum + size, 0));
      let at = 0;
      const files = new Map(
        wanted.map((file) => {
          const own = all.subarray(at, at + file.size);
          at += file.size;
          readFully(file.descriptor, own);
          return [file.name, own];
        }),
      );
      this.#compare(files, state);
      return files;
    } catch (cause) {
      throw codeOf(cause) === "" ? cause : this.#changed(cause);
    } finally {
      for (const { descriptor } of opened) closeSync(descriptor);
    }
  }

  #compare(files: ReadonlyMap<string, Uint8Array>, state: string): void {
    if (state === this.#compared) return;
    const hashes = new Map([...files].map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]));
    if (hashOfFiles(hashes) !== this.#sha256) throw this.#changed();
    this.#compared = state;
  }
}

/** The files of the expert that was read last. */
export class Desk {
  #owner: ExpertFiles | undefined;
  #files: ReadonlyMap<string, Uint8Array> = new Map();
  // Held weakly: work in progress keeps it, and afterwards its memory can be freed.
  #room: WeakRef<Uint8Array> | undefined;

  bytesOf(owner: ExpertFiles, name: string): Uint8Array | undefined {
    const room = this.#room?.deref();
    const known = this.#owner === owner && room && this.#files.get(name);
    if (known) return known;
    this.#owner = undefined; // if reading fails, the old bytes are gone
    this.#files = owner.read(name, (bytes) => this.#roomFor(bytes, room));
    this.#owner = owner;
    return this.#files.get(name);
  }

  #roomFor(bytes: number, room: Uint8Array | undefined): Uint8Array {
    if (room && room.length >= bytes) return room;
    const larger = new Uint8Array(bytes);
    this.#room = new WeakRef(larger);
    return larger;
  }
}

/** The hash of an expert, from the SHA-256 of its files by name. */
export function hashOfFiles(hashes: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256");
  for (const name of HASHED_FILES) if (hashes.has(name)) hash.update(`${name} ${hashes.get(name)}\n`);
  return hash.digest("hex");
}

interface OpenFile {
  readonly name: string;
  readonly descriptor: number;
  readonly size: number;
  /** Another text once the file was replaced or written. */
  readonly state: string;
}

/** The file, open; none if it does not exist. */
function openedIn(folder: string, name: string): OpenFile[] {
  let descriptor: number;
  try {
    descriptor = openSync(join(folder, name), "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
  const { ino, size, mtimeNs } = fstatSync(descriptor, { bigint: true });
  return [{ name, descriptor, size: Number(size), state: `${name} ${ino} ${size} ${mtimeNs}` }];
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function readFully(descriptor: number, to: Uint8Array): void {
  for (let at = 0; at < to.length; ) {
    const count = readSync(descriptor, to, at, Math.min(2 ** 30, to.length - at), at);
    if (count === 0) return; // it became shorter: the hash shows it
    at += count;
  }
}
