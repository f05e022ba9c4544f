/** @file For tests: a hub on the loopback interface: downloads, the search for models, and uploads (fake-hub-uploads.ts). */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { type Answer, bodyOf, FakeUploads } from "./fake-hub-uploads.ts";

type Files = Map<string, Buffer>;

interface Served {
  readonly key: string;
  readonly commit: string;
  readonly files: Files;
  readonly path: string;
  readonly url: URL;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export class FakeHub {
  /** Method and path of each request. */
  readonly requests: string[] = [];
  readonly authorizations = new Set<string | undefined>();
  /** Sends only this many bytes of the next larger file, once, and then closes the connection. */
  cutAfter: number | undefined;
  /** A status other than 200 for all requests. */
  status = 200;
  /** Sends zeros. */
  corrupt = false;
  /** Sends this many bytes more than it lists. */
  surplus = 0;
  /** Bytes of content sent. */
  sent = 0;
  /** Repositories that moved: old name to new. */
  readonly forwards = new Map<string, string>();
  /** Entries per page of a listing. */
  pageSize = 1000;
  /** Uploads, and their faults. */
  readonly uploads = new FakeUploads();
  /** What is public about a repository: its tags, for the search. */
  readonly tags = new Map<string, readonly string[]>();
  /** Repositories that were made private. */
  readonly private = new Set<string>();
  readonly #repositories = new Map<string, { commit: string; files: Files }>();
  #server: Server = createServer((request, response) => void this.#answer(request, response));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this.url;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Publishes files; by default the commit is a hash of their names and contents. */
  add(repository: string, files: Readonly<Record<string, string | Buffer>> | Files, { revision = "main", commit = "" } = {}): string {
    const entries = files instanceof Map ? [...files] : Object.entries(files);
    const map: Files = new Map(entries.map(([path, content]) => [path, Buffer.from(content)]));
    const hash = createHash("sha1")
      .update(JSON.stringify([repository, revision, ...map]))
      .digest("hex");
    this.#repositories.set(`${repository}@${revision}`, { commit: commit || hash, files: map });
    return commit || hash;
  }

  /** The requested files, except README.md, without the path before them. */
  get fetched(): string[] {
    const paths = this.requests.flatMap((request) => /\/resolve\/[0-9a-f]{40}\/(.*)$/.exec(request)?.[1] ?? []);
    return [...new Set(paths)].filter((path) => path !== "README.md");
  }

  /** The files of a repository at its branch. */
  files(repository: string): ReadonlyMap<string, Buffer> {
    return this.#repositories.get(`${repository}@main`)?.files ?? new Map();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", "http://hub");
    const path = decodeURIComponent(url.pathname);
    this.requests.push(`${request.method} ${path}`);
    this.authorizations.add(request.headers.authorization);
    const moved = this.#forward(request.url ?? "");
    if (this.status !== 200) json(response, { error: "refused" }, { status: this.status });
    else if (moved !== undefined) response.writeHead(307, { location: moved }).end();
    else if (path === "/api/repos/create") await this.#create(request, response);
    else if (path === "/api/models") this.#search(url, response);
    else if (request.method !== "GET" && request.method !== "HEAD") await this.#upload(request, path, response);
    else if (![...this.#repositories].some(([key, { commit, files }]) => this.#serve({ key, commit, files, path, url, request, response })))
      json(response, { error: "Not found" }, { status: 404 });
  }

  async #create(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { organization, name, visibility } = JSON.parse(String(await bodyOf(request))) as Record<string, string>;
    const id = `${organization}/${name}`;
    if (this.uploads.readOnly) json(response, { error: "Forbidden: this token has no write access" }, { status: 403 });
    else if (this.#repositories.has(`${id}@main`)) json(response, { error: "You already created this model repo" }, { status: 409 });
    else {
      this.add(id, { ".gitattributes": "*.safetensors filter=lfs\n" });
      if (visibility === "private") this.private.add(id);
      json(response, { url: `${this.url}/${id}`, id });
    }
  }

  async #upload(request: IncomingMessage, path: string, response: ServerResponse): Promise<void> {
    const target = (repository: string) => {
      const found = this.#repositories.get(`${repository}@main`);
      return found && { repository, ...found, publish: (files: Files) => this.add(repository, files) };
    };
    const answer: Answer | "broken" | undefined = await this.uploads.answer(request, path, target, this.url);
    if (answer === "broken") response.destroy();
    else if (answer === undefined) json(response, { error: "Not found" }, { status: 404 });
    else json(response, answer.body ?? {}, { status: answer.status ?? 200, ...answer.headers });
  }

  #search(url: URL, response: ServerResponse): void {
    const wanted = url.searchParams.getAll("filter");
    const text = (url.searchParams.get("search") ?? "").toLowerCase();
    const found = [...this.#repositories].flatMap(([key, { commit, files }]) => {
      const [id = ""] = key.split("@");
      const tags = this.tags.get(id) ?? [];
      if (!id.toLowerCase().includes(text) || !wanted.every((tag) => tags.includes(tag))) return [];
      const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
      return [
        { _id: id, id, tags, sha: commit, siblings, downloads: 1, likes: 0, gated: false, private: false, lastModified: "2026-01-01" },
      ];
    });
    json(response, found.slice(0, Number(url.searchParams.get("limit") ?? 100)));
  }

  #forward(path: string): string | undefined {
    const [from, to] = [...this.forwards].find(([name]) => path.startsWith(`/${name}/`) || path.startsWith(`/api/${name}/`)) ?? [];
    return from === undefined ? undefined : path.replace(`/${from}/`, `/${to}/`);
  }

  /** Answers if the request is about this repository. */
  #serve({ key, commit, files, path, url, request, response }: Served): boolean {
    const [name = "", revision] = key.split("@");
    const api = `/api/${name.startsWith("datasets/") ? name : `models/${name}`}`;
    const body = files.get(path.replace(`/${name}/resolve/${commit}/`, ""));
    if ([revision, commit].some((at) => path === `${api}/revision/${at}`)) json(response, { _id: "1", id: name, sha: commit });
    else if (path === `${api}/tree/${commit}`) this.#list(url, files, response);
    else if (body) this.#send(request, response, this.corrupt ? Buffer.alloc(body.length) : body);
    else return false;
    return true;
  }

  #list(url: URL, files: Files, response: ServerResponse): void {
    const isRecursive = url.searchParams.get("recursive") === "true";
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const isListed = (path: string) => isRecursive || !path.includes("/") || path.includes("..");
    const entries = [...files].filter(([path]) => isListed(path)).map(([path, file]) => listing(path, file));
    const next = new URL(url.pathname + url.search, this.url);
    next.searchParams.set("cursor", String(start + this.pageSize));
    const isLast = start + this.pageSize >= entries.length;
    json(response, entries.slice(start, start + this.pageSize), isLast ? {} : { link: `<${next.href}>; rel="next"` });
  }

  #send(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
    const whole = this.surplus === 0 ? body : Buffer.concat([body, Buffer.alloc(this.surplus)]);
    const part = from === undefined ? whole : body.subarray(Number(from), Number(to) + 1);
    const headers = {
      etag: '"x"',
      "content-length": part.length,
      "content-range": `bytes ${from ?? 0}-${to ?? body.length - 1}/${body.length}`,
    };
    response.writeHead(from === undefined ? 200 : 206, headers);
    this.sent += part.length;
    if (this.cutAfter !== undefined && part.length > this.cutAfter) {
      response.write(part.subarray(0, this.cutAfter), () => setTimeout(() => response.destroy(), 50));
      this.cutAfter = undefined;
    } else response.end(part);
  }
}

function json(
  response: ServerResponse,
  body: unknown,
  { status = 200, ...headers }: { status?: number; [header: string]: string | number | undefined } = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

function listing(path: string, body: Buffer): object {
  const oid = createHash("sha1").update(`blob ${body.length}\0`).update(body).digest("hex");
  const lfs = /\.(safetensors|parquet)$/.test(path) && {
    lfs: { oid: createHash("sha256").update(body).digest("hex"), size: body.length, pointerSize: 120 },
  };
  return { type: "file", path, size: body.length, oid, ...lfs };
}
