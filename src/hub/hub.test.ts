import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeHub } from "../../tests/fake-hub.ts";
import { CheckpointError } from "../base/errors.ts";
import { float32 } from "../base/tensor.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { resolveModel } from "./resolve-model.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const ID = "flock/goose-1b";

let folder: string;
let hub: FakeHub;
let env: Record<string, string>;
let files: Map<string, Buffer>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-hub-"));
  hub = new FakeHub();
  await writeSafetensors(join(folder, "t"), {
    a: float32(
      [5000],
      Float32Array.from({ length: 5000 }, (_, i) => i),
    ),
  });
  files = new Map([
    ["config.json", Buffer.from('{"model_type":"llama"}')],
    ["model.safetensors", await readFile(join(folder, "t"))],
    ["tokenizer.json", Buffer.from("{}")],
    ["pytorch_model.bin", Buffer.from("pickle")],
    ["README.md", Buffer.from("# Goose")],
  ]);
  hub.add(ID, files, { commit: COMMIT });
  env = { HF_HOME: join(folder, "home"), HF_ENDPOINT: await hub.start() };
});
afterEach(async () => {
  hub.stop();
  await rm(folder, { recursive: true });
});
const cache = (): string => join(folder, "home", "hub", "models--flock--goose-1b");
const offline = (): Record<string, string> => ({ ...env, HF_HUB_OFFLINE: "1" });

describe("downloading", () => {
  test("a model lands in the cache as Python lays it out, without pickles, and opens", async () => {
    const seen: string[] = [];
    const snapshot = await resolveModel(ID, {
      env,
      onProgress: ({ file, loadedBytes, totalBytes }) => seen.push(`${file} ${loadedBytes}/${totalBytes}`),
    });
    expect(snapshot).toBe(join(cache(), "snapshots", COMMIT));
    expect((await readdir(snapshot)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect((await lstat(join(snapshot, "config.json"))).isSymbolicLink()).toBe(true);
    expect(await readFile(join(cache(), "refs", "main"), "utf8")).toBe(COMMIT);
    expect((await openCheckpoint(snapshot)).tensors.get("a")!.file).toContain("blobs");
    expect(seen).toContain("config.json 22/22");
  });

  test("what is cached is not fetched again, offline works, and a pinned commit asks nobody", async () => {
    const snapshot = await resolveModel(ID, { env });
    hub.requests.length = 0;
    expect(await resolveModel(ID, { env })).toBe(snapshot);
    expect(hub.requests.filter((request) => request.includes("/resolve/"))).toEqual([]);
    hub.requests.length = 0;
    expect(await resolveModel(ID, { env: offline() })).toBe(snapshot);
    expect(await resolveModel(`${ID}@${COMMIT}`, { env })).toBe(snapshot);
    expect(hub.requests).toEqual([]);
  });

  test("an interrupted download goes on where it stopped", async () => {
    hub.cutAfter = 8000;
    await expect(resolveModel(ID, { env })).rejects.toThrow(/goes on where it stopped/);
    const loaded: number[] = [];
    const snapshot = await resolveModel(ID, {
      env,
      onProgress: ({ file, loadedBytes }) => void (file === "model.safetensors" && loaded.push(loadedBytes)),
    });
    expect(loaded[0]).toBeGreaterThan(8000);
    expect(await readFile(join(snapshot, "model.safetensors"))).toEqual(files.get("model.safetensors"));
  });

  test("content that does not match its hash is not kept", async () => {
    hub.corrupt = true;
    await expect(resolveModel(ID, { env })).rejects.toThrow(/other content than the hub announced/);
    expect(await readdir(join(cache(), "blobs"))).toEqual([]);
    hub.corrupt = false;
    await expect(resolveModel(ID, { env })).resolves.toBeDefined();
  });

  test("whoever sends more than was announced is cut off", async () => {
    hub.surplus = 50_000_000;
    await expect(resolveModel(ID, { env })).rejects.toThrow(/other content than the hub announced/);
    expect(await readdir(join(cache(), "blobs"))).toEqual([]);
  });

  test("a download that failed leaves nothing in the snapshot", async () => {
    hub.cutAfter = 8000;
    await expect(resolveModel(ID, { env })).rejects.toThrow(/ended after|terminated/);
    expect(await readdir(cache())).toEqual(["blobs"]);
  });

  test("a path that leaves the repository's folder is refused", async () => {
    hub.add(ID, new Map([...files, ["model/../../../stolen.safetensors", Buffer.from("x")]]), { commit: COMMIT });
    await expect(resolveModel(ID, { env })).rejects.toThrow(/outside the repository's folder/);
  });

  test("the token of HF_TOKEN or the token file is sent", async () => {
    await mkdir(join(folder, "home"));
    await writeFile(join(folder, "home", "token"), "hf_file\n");
    await resolveModel(ID, { env });
    expect([...hub.authorizations]).toEqual(["Bearer hf_file"]);
    hub.authorizations.clear();
    await resolveModel(ID, { env: { ...env, HF_TOKEN: "hf_variable" } });
    expect([...hub.authorizations]).toEqual(["Bearer hf_variable"]);
    await expect(resolveModel(ID, { env: { ...env, HF_TOKEN: "secret" } })).rejects.toThrow(/does not start with hf_/);
  });

  test("the cache serves when the hub cannot be reached", async () => {
    const snapshot = await resolveModel(ID, { env });
    const unplugged = (): Promise<Response> => Promise.reject(new TypeError("fetch failed"));
    expect(await resolveModel(ID, { env, fetch: unplugged })).toBe(snapshot);
  });
});

test("a cache written by Python is used, by branch", async () => {
  const snapshot = join(cache(), "snapshots", COMMIT);
  await mkdir(snapshot, { recursive: true });
  await mkdir(join(cache(), "blobs"));
  await mkdir(join(cache(), "refs"));
  await writeFile(join(cache(), "refs", "v1.0"), COMMIT);
  await writeFile(join(cache(), "blobs", "abc"), "{}");
  await symlink("../../blobs/abc", join(snapshot, "config.json"));
  expect(await resolveModel(`${ID}@v1.0`, { env: offline() })).toBe(snapshot);
  expect(await resolveModel(`${ID}@v1.0`, { env: { HF_HUB_CACHE: join(folder, "home", "hub"), HF_HUB_OFFLINE: "true" } })).toBe(snapshot);
});

test("a folder is itself", async () => {
  expect(await resolveModel(folder, { env: offline() })).toBe(folder);
});

describe("refused with what to do", () => {
  const cases: [string, RegExp, () => Promise<unknown>][] = [
    ["offline and not cached", /not in the cache[\s\S]*Unset HF_HUB_OFFLINE/, () => resolveModel(ID, { env: offline() })],
    ["gated", /gated or private[\s\S]*HF_TOKEN/, () => answering(401)],
    ["unknown", /no such model or revision/, () => answering(404)],
    ["too often", /Too many requests/, () => answering(429)],
    ["a broken hub", /fetching it from http:\/\/127[\s\S]*Check the network/, () => answering(503)],
    ["neither folder nor id", /no such folder/, () => resolveModel("./nowhere/at/all", { env })],
    ["an id that climbs", /no such folder/, () => resolveModel("flock/goose@a/../../b", { env })],
    ["pickles only", /pickled \(pytorch_model.bin\)/, () => pickled()],
  ];
  const pickled = (): Promise<string> => {
    files.delete("model.safetensors");
    hub.add(ID, files, { commit: COMMIT });
    return resolveModel(ID, { env });
  };
  const answering = (status: number): Promise<string> => {
    hub.status = status;
    return resolveModel(ID, { env });
  };
  test.each(cases)("%s", async (_, reason, act) => {
    const acting = act();
    await expect(acting).rejects.toThrow(CheckpointError);
    await expect(acting).rejects.toThrow(reason);
  });
});
