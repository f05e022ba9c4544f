/** @file For tests: the requests of an upload to the hub (preupload, LFS batch, PUT, commit), with the faults of a real one. */

import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";

type Files = Map<string, Buffer>;

/** What the server answers. */
export interface Answer {
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}
export interface Target {
  readonly repository: string;
  readonly files: Files;
  readonly commit: string;
  /** Replaces the files of the branch; returns the new commit. */
  readonly publish: (files: Files) => string;
}

/** The state of uploads, and the faults to come. */
export class FakeUploads {
  /** The paths of each commit. */
  readonly commits: (readonly string[])[] = [];
  /** Objects of large files that arrived. */
  readonly objects = new Map<string, Buffer>();
  /** Answers this many requests with 429 and a Retry-After of one second. */
  busy = 0;
  /** Breaks the connection of this many uploads of large files. */
  broken = 0;
  /** Refuses all that writes, as for a token that may only read. */
  readOnly = false;
  /** Called before each commit is taken: somebody else may commit here. */
  beforeCommit: (() => void) | undefined;

  /** The answer to a request that writes; undefined for another request, "broken" to close the connection. */
  async answer(request: IncomingMessage, path: string, target: (repository: string) => Target | undefined, url: string) {
    const [, repository = ""] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(?:preupload|commit)\//.exec(path) ?? /^\/([^/]+\/[^/]+)\.git\/info\/lfs\//.exec(path) ?? [];
    const isWrite = repository !== "" || path.startsWith("/lfs/");
    if (!isWrite) return undefined;
    const body = await bodyOf(request);
    if (this.busy > 0) {
      this.busy--;
      return { status: 429, body: { error: "Too many requests" }, headers: { "retry-after": "1" } };
    }
    if (path.startsWith("/lfs/")) return this.#put(path.slice("/lfs/".length), body);
    if (this.readOnly) return { status: 403, body: { error: "Forbidden: this token has no write access" } };
    const found = target(repository);
    if (!found) return { status: 404, body: { error: "Repository not found" } };
    if (path.includes("/preupload/")) return preupload(body);
    if (path.endsWith("/objects/batch")) return this.#batch(body, url);
    this.beforeCommit?.();
    return this.#commit(body, target(repository)!);
  }

  #put(oid: string, body: Buffer): Answer | "broken" {
    if (this.broken > 0) {
      this.broken--;
      return "broken";
    }
    if (sha256(body) !== oid) return { status: 400, body: { error: "other content than announced" } };
    this.objects.set(oid, body);
    return {};
  }

  #batch(body: Buffer, url: string): Answer {
    const { objects } = JSON.parse(String(body)) as { objects: { oid: string; size: number }[] };
    const upload = (oid: string) => (this.objects.has(oid) ? {} : { actions: { upload: { href: `${url}/lfs/${oid}`, header: {} } } });
    return { body: { transfer: "basic", objects: objects.map(({ oid, size }) => ({ oid, size, ...upload(oid) })) } };
  }

  #commit(body: Buffer, { files, commit, publish }: Target): Answer {
    const lines = String(body)
      .split("\n")
      .map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const parent = lines[0]!.value.parentCommit;
    if (parent !== undefined && parent !== commit) return { status: 412, body: { error: "A commit has happened since. Please refresh." } };
    const next = new Map(files);
    for (const { key, value } of lines.slice(1)) {
      if (key === "file") next.set(value.path!, Buffer.from(value.content!, "base64"));
      else if (key === "deletedFile") next.delete(value.path!);
      else {
        const object = this.objects.get(value.oid!);
        if (!object) return { status: 400, body: { error: `object ${value.oid} was not uploaded` } };
        next.set(value.path!, object);
      }
    }
    this.commits.push(lines.slice(1).map(({ value }) => value.path!));
    return { body: { commitOid: publish(next), commitUrl: "", hookOutput: "" } };
  }
}

function preupload(body: Buffer): Answer {
  const { files } = JSON.parse(String(body)) as { files: { path: string }[] };
  return { body: { files: files.map(({ path }) => ({ path, uploadMode: /\.safetensors$/.test(path) ? "lfs" : "regular" })) } };
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
