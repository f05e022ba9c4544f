/** @file Both stores, with one set of tests; and what each says when it is full, away, or refuses. */

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type FakeS3, fakeS3 } from "../../../tests/fake-s3.ts";
import { persistently } from "../persist.ts";
import { fetchPublished, publish, published, restoreState, stateSaver } from "../results.ts";
import { openStore } from "./open-store.ts";
import { getJson, putJson, type Store } from "./store.ts";
import { filesBelow, getFiles, getTree, putTree } from "./trees.ts";

let folder: string;
let s3: FakeS3;
const at = (name: string) => join(folder, name);
const bytes = (text: string) => new TextEncoder().encode(text);
const KEY = "a".repeat(64);
const SECRET = "S3RVER";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-store-"));
  s3 = await fakeS3(at("s3"), "bucket");
  vi.stubEnv("AWS_ENDPOINT_URL_S3", s3.endpoint);
  vi.stubEnv("AWS_ACCESS_KEY_ID", "S3RVER");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await s3[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe.each([
  ["a folder", () => openStore(at("shared"), { creates: true })],
  ["S3", () => openStore("s3://bucket/farms/one")],
])("%s", (_, open: () => Promise<Store>) => {
  test("gives what was put, lists it, and forgets what is removed", async () => {
    const store = await open();
    await store.put("things/a", bytes("one"));
    await store.put("things/b", bytes(""));
    expect(new TextDecoder().decode(await store.get("things/a"))).toBe("one");
    expect([await store.has("things/a"), await store.has("things/c")]).toEqual([true, false]);
    expect((await store.list("things/")).sort()).toEqual(["things/a", "things/b"]);
    expect(await store.get("things/c")).toBeUndefined();
    expect(await store.getFile("things/c", at("c"))).toBe(false);
    await store.remove("things/a");
    await store.remove("things/a"); // as often as you like
    expect(await store.list("things/")).toEqual(["things/b"]);
    expect(await store.list("nothing/")).toEqual([]);
    store.close();
  });

  test("keeps folders by their content; a changed blob is found", async () => {
    const store = await open();
    const source = at(`source-${store.place.length}`);
    await mkdir(join(source, "deep"), { recursive: true });
    await writeFile(join(source, "deep", "a.txt"), "one");
    await writeFile(join(source, "b.txt"), "two");
    const name = await putTree(store, await filesBelow(source));
    expect(await putTree(store, await filesBelow(source))).toBe(name);
    const target = `${source}-copy`;
    await getTree(store, name, target);
    expect(await readFile(join(target, "deep", "a.txt"), "utf8")).toBe("one");
    const sha256 = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"; // of "one"
    await store.put(`blobs/${sha256}`, bytes("other"));
    await rm(target, { recursive: true });
    await expect(getTree(store, name, target)).rejects.toMatchObject({ code: "store-damaged" });
    store.close();
  });

  test("a job's state moves to another folder; its result replaces it", async () => {
    const store = await open();
    const job = at(`job-${store.place.length}`);
    await mkdir(join(job, "runs/x"), { recursive: true });
    await writeFile(join(job, "job.json"), "{}");
    await writeFile(join(job, "runs/x/state.safetensors"), "first");
    const save = stateSaver(store, KEY, job);
    await save();
    await writeFile(join(job, "runs/x/state.safetensors"), "second");
    await save();
    expect(await store.list(`state/${KEY}/`)).toHaveLength(1); // the first is of no use
    expect(await restoreState(store, KEY, `${job}-else`)).toBe(true);
    expect(await readFile(join(`${job}-else`, "runs/x/state.safetensors"), "utf8")).toBe("second");
    await writeFile(join(job, "runs/x/metrics.jsonl"), "{}");
    await publish(store, KEY, job, { version: "1", result: { seconds: 1, peakBytes: 2 } });
    const found = (await published(store, KEY))!;
    await fetchPublished(store, found, `${job}-done`);
    expect([...(await filesBelow(`${job}-done`)).keys()]).toEqual(["runs/x/metrics.jsonl"]);
    expect(await store.list("state/")).toEqual([]);
    expect(await restoreState(store, KEY, `${job}-again`)).toBe(false);
    store.close();
  });

  test("a state whose files are gone is begun anew", async () => {
    const store = await open();
    await putJson(store, `state/${KEY}.json`, { files: [{ path: "a", sha256: "b".repeat(64) }] });
    expect(await restoreState(store, KEY, at("gone"))).toBe(false);
    await store.remove(`state/${KEY}.json`);
    store.close();
  });

  test.each(["../a", "a/../../b", "/etc/a", "a\\..\\b", ""])("a path that leads out of the folder is refused: %s", async (path) => {
    const store = await open();
    await expect(getFiles(store, [{ path, sha256: "b".repeat(64) }], at("safe"))).rejects.toThrow();
    store.close();
  });

  test("JSON comes back", async () => {
    const store = await open();
    await putJson(store, "json/a.json", { a: [1] });
    expect(await getJson(store, "json/a.json")).toEqual({ a: [1] });
    expect(await getJson(store, "json/b.json")).toBeUndefined();
    store.close();
  });
});

test("a file larger than what is held in memory goes to S3 and back", async () => {
  const store = await openStore("s3://bucket");
  await writeFile(at("large"), Buffer.alloc(33 * 2 ** 20, 7));
  await store.putFile("large", at("large"));
  expect(await store.getFile("large", at("large-copy"))).toBe(true);
  expect(Buffer.compare(await readFile(at("large")), await readFile(at("large-copy")))).toBe(0);
  store.close();
});

describe("a store that cannot be used is one clear error", () => {
  test.each([
    ["a folder that is not there", () => at("nowhere"), "store-refused"],
    ["a file", () => at("large"), "store-refused"],
    ["a bucket that is not there", () => "s3://no-such-bucket/x", "store-refused"],
    ["another scheme", () => "ftp://user:password@host/x", "option-invalid"],
  ])("%s", async (_, place, code) => {
    await writeFile(at("large"), "x");
    const error = await openStore(place()).catch((problem: unknown) => problem);
    expect(error).toMatchObject({ code });
    expect(String(error)).not.toContain("password");
  });

  test("wrong keys, and the keys are not in the message", async () => {
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "not-this-one");
    const error = await openStore("s3://bucket/x").catch((problem: unknown) => problem);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
    expect(error).toMatchObject({ code: "store-refused" });
    expect(String(error)).not.toContain("not-this-one");
  });

  test.skipIf(process.getuid?.() === 0)("a folder without permission", async () => {
    await mkdir(at("closed"));
    await chmod(at("closed"), 0o500);
    await expect(openStore(at("closed"))).rejects.toMatchObject({ code: "store-refused" });
  });

  test.each([
    [{ status: 507, code: "XMinioStorageFull", method: "PUT" } as const, "store-full"],
    [{ status: 403, code: "AccessDenied", method: "PUT" } as const, "store-refused"],
    [{ status: 503, code: "SlowDown" } as const, "store-unreachable"],
    ["cut" as const, "store-unreachable"],
  ])("S3 that answers %o", async (fault, code) => {
    const store = await openStore("s3://bucket/faults");
    s3.fault = fault;
    const error = await store.put("a", bytes("x")).catch((problem: unknown) => problem);
    s3.fault = undefined;
    expect(error).toMatchObject({ code });
    await store.put("a", bytes("x")); // and it goes on
    store.close();
  });
});

test("work waits while the store is full and goes on when there is space", async () => {
  const store = await openStore("s3://bucket/full");
  s3.fault = { status: 507, code: "QuotaExceeded", method: "PUT" };
  const said: string[] = [];
  const put = persistently(() => store.put("a", bytes("x")), {
    onWarning: (message) => {
      said.push(message);
      s3.fault = undefined; // somebody frees some
    },
  });
  await put;
  expect(said).toEqual([expect.stringContaining("no space left"), "It goes on."]);
  expect(await store.has("a")).toBe(true);
  store.close();
});
