/** @file A pool on its way to the hub and back, by command lines, against a hub on this machine. */

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { FakeHub } from "../../tests/fake-hub.ts";
import { rejection } from "../../tests/temporary-folder.ts";
import { type TinyWorld, tinyWorld } from "../server/tiny-world.test-helper.ts";
import { push } from "../sharing/push.ts";
import { skein } from "./captured-io.test-helper.ts";

const ID = "flock/goose-pool";
const BASE = "flock/tiny-llama";
const ABOUT = ["--license", "apache-2.0", "--base", BASE];

let folder: string;
let world: TinyWorld;
let hub: FakeHub;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-share-"));
  world = await tinyWorld(folder);
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  hub = new FakeHub();
  vi.stubEnv("HF_ENDPOINT", await hub.start());
  vi.stubEnv("HF_HOME", await mkdtemp(join(folder, "home-")));
  vi.stubEnv("HF_TOKEN", "hf_secret");
});
afterEach(() => {
  vi.unstubAllEnvs();
  hub.stop();
});

const text = (path: string, repository = ID) => String(hub.files(repository).get(path));
const header = (card: string) => parse(card.split("---\n")[1]!) as Record<string, unknown>;

describe("a pool", () => {
  test("is pushed with cards, a picture and pool.json last, and computes the same from the hub", async () => {
    const results = {
      tasks: [{ name: "opposites", metrics: ["acc"] }],
      methods: [
        { name: "base", kind: "base", tasks: { opposites: { metrics: { acc: { value: 0.25 } } } } },
        { name: "phatgoose", kind: "router", tasks: { opposites: { metrics: { acc: { value: 0.75 } } } } },
      ],
    };
    await cp(world.pool, at("scored"), { recursive: true });
    await cp(world.pool, at("evaluation-folder"), { recursive: true });
    await writeFile(at("evaluation-folder/results.json"), JSON.stringify(results));
    const pushed = await skein("push", at("scored"), ID, ...ABOUT, "--results", at("evaluation-folder"), "--private");
    expect(pushed).toMatchObject({ code: 0, out: expect.stringMatching(/^Pushed .* to flock\/goose-pool@[0-9a-f]{40}: 13 files/) });
    expect(pushed.err + pushed.out).not.toContain("hf_secret");
    expect(hub.private.has(ID)).toBe(true);
    expect(hub.uploads.commits.at(-1)).toContain("pool.json");
    expect(hub.uploads.commits.slice(0, -1).flat()).not.toContain("pool.json");
    expect(header(text("README.md"))).toMatchObject({
      base_model: BASE,
      base_model_relation: "adapter",
      library_name: "peft",
      pipeline_tag: "text-generation",
      license: "apache-2.0",
      tags: ["lora", "phatgoose", `base_model:adapter:${BASE}`, "skein"],
      "model-index": [{ results: [{ dataset: { name: "opposites" }, metrics: [{ type: "acc", value: 0.75 }] }] }],
    });
    expect(text("README.md")).toContain("| opposites | acc | 0.2500 | 0.7500 |");
    expect(text("pool.svg")).toMatch(/<svg[\s\S]*phatgoose[\s\S]*0\.750/);
    for (const [path, content] of hub.files(ID)) if (/\.(?:json|md|svg)$/.test(path)) expect(String(content)).not.toContain(folder);

    const local = await skein("generate", "a", "--base", world.base, "--pool", world.pool, "--max-new-tokens", "4", "--json");
    const remote = await skein("generate", "a", "--base", world.base, "--pool", ID, "--max-new-tokens", "4", "--json");
    expect(remote.code).toBe(0);
    expect(JSON.parse(remote.out).completions).toEqual(JSON.parse(local.out).completions);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect((await skein("trace", "a", "--base", world.base, "--pool", ID, "--max-new-tokens", "1", "--out", at("trace.html"))).code).toBe(
      0,
    );
  });

  test("lies as PEFT's from_pretrained(base, repo, subfolder=...) reads it", async () => {
    await skein("push", world.pool, ID, ...ABOUT);
    for (const name of ["red", "blue"]) {
      // hf_hub_download joins subfolder and file name by "/"; the keys are those of LoraConfig, which takes no others.
      const config = JSON.parse(text(`experts/${name}/adapter_config.json`));
      const original = JSON.parse(await readFile(join(world.experts, name, "adapter_config.json"), "utf8"));
      expect(config).toEqual({ ...original, base_model_name_or_path: BASE });
      const bytes = hub.files(ID).get(`experts/${name}/adapter_model.safetensors`)!;
      const names = Object.keys(JSON.parse(String(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))))));
      expect(names.filter((key) => !/^(?:__metadata__|base_model\.model\..*\.lora_[AB]\.weight)$/.test(key))).toEqual([]);
    }
  });

  test("is pulled whole, every hash checked, and the commit is named", async () => {
    await skein("push", world.pool, ID, ...ABOUT);
    const pulled = await skein("pull", ID, at("pulled"), "--json");
    const { commit, kind } = JSON.parse(pulled.out);
    expect(kind).toBe("pool");
    expect(JSON.parse(await readFile(at("pulled/hub.json"), "utf8"))).toEqual({ repository: ID, commit });
    expect((await readdir(at("pulled/experts"))).sort()).toEqual(["blue", "red"]);
    expect(await skein("pull", ID, at("pulled"))).toMatchObject({ code: 1, err: expect.stringContaining("is not empty") });
    expect((await skein("generate", "a", "--base", world.base, "--pool", `${ID}@${commit}`, "--max-new-tokens", "1")).code).toBe(0);

    const files = new Map(hub.files(ID));
    files.set("experts/red/adapter_config.json", Buffer.from(`${files.get("experts/red/adapter_config.json")} `));
    hub.add(ID, files);
    expect(await skein("pull", ID, at("changed"))).toMatchObject({ code: 1, err: expect.stringContaining('Expert "red" changed') });
    await expect(readdir(at("changed"))).rejects.toThrow("ENOENT");
  });

  test("is compared by hash: what is there is not sent again, and what has gone is deleted", async () => {
    expect((await skein("push", world.pool, ID, ...ABOUT, "--dry-run")).out).toMatch(
      /^Would push to the new repository[\s\S]* {2}pool.json {2}\d+/,
    );
    expect(hub.files(ID).size).toBe(0);
    await skein("push", world.pool, ID, ...ABOUT);
    expect((await skein("push", world.pool, ID, ...ABOUT)).out).toContain("0 files (0.0 MB), 13 files there already");
    await cp(world.pool, at("smaller"), { recursive: true });
    await skein("pool", "remove", at("smaller"), "red");
    const planned = JSON.parse((await skein("push", at("smaller"), ID, ...ABOUT, "--dry-run", "--json")).out);
    expect(planned.deleted).toContain("experts/red/adapter_model.safetensors");
    expect((await skein("push", at("smaller"), ID, ...ABOUT)).code).toBe(0);
    expect([...hub.files(ID).keys()].filter((path) => path.startsWith("experts/red"))).toEqual([]);
    expect(hub.files(ID).has(".gitattributes")).toBe(true);
  });
});

test("an expert is pushed alone, and comes into a pool from the hub, from a subfolder too", async () => {
  await writeFile(join(world.experts, "green/optimizer.bin"), "x");
  expect((await skein("push", join(world.experts, "green"), "flock/green", ...ABOUT, "--datasets", "flock/seeds")).code).toBe(0);
  expect(header(text("README.md", "flock/green"))).toMatchObject({
    datasets: ["flock/seeds"],
    tags: ["lora", `base_model:adapter:${BASE}`, "skein"],
  });
  expect(hub.files("flock/green").has("optimizer.bin")).toBe(false);
  await skein("push", world.pool, ID, ...ABOUT);
  await cp(world.pool, at("grown"), { recursive: true });
  const added = await skein("pool", "add", at("grown"), "flock/green", "--base", world.base);
  expect(added).toMatchObject({ code: 0, out: expect.stringContaining("Added green") });
  await skein("pool", "remove", at("grown"), "red");
  expect(await skein("pool", "add", at("grown"), `${ID}/experts/red`, "--base", world.base)).toMatchObject({ code: 0 });
  expect((await readdir(at("grown/experts"))).sort()).toEqual(["blue", "green", "red"]);
  expect(await skein("pool", "add", at("grown"), ID, "--base", world.base)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/Adapters are in its folders experts\/(?:red|blue)/),
  });
});

describe("a push is refused, with what to do", () => {
  const refused = async (...more: string[]) => {
    const { code, err } = await skein("push", world.pool, ID, ...more);
    expect(code).toBe(1);
    expect(err).not.toContain("hf_secret");
    return err;
  };
  test("without a license", async () => expect(await refused("--base", BASE)).toContain("--license"));
  test("with a base that is a folder here", async () =>
    expect(await refused("--license", "mit")).toMatch(/not its id on the hub[\s\S]*--base/));
  test("to what is no repository", async () =>
    expect((await skein("push", world.pool, "goose", ...ABOUT)).err).toContain("Write it as org/name"));
  test("with a token that may only read", async () => {
    hub.uploads.readOnly = true;
    expect(await refused(...ABOUT)).toMatch(/may not write[\s\S]*HF_TOKEN/);
  });
  test("without a token", async () => {
    vi.stubEnv("HF_TOKEN", "");
    expect(await refused(...ABOUT)).toMatch(/needs an access token/);
  });
  test("offline", async () => {
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await refused(...ABOUT)).toContain("HF_HUB_OFFLINE is set");
  });
  test("with a card of one's own that names a folder here", async () => {
    await cp(world.pool, at("leaky"), { recursive: true });
    await writeFile(at("leaky/README.md"), `# mine\nIt lies in ${at("leaky")}/experts.\n`);
    expect((await skein("push", at("leaky"), ID, ...ABOUT)).err).toContain("The card names the folder");
  });
});

describe("faults of the hub", () => {
  const waits: number[] = [];
  const options = {
    license: "mit",
    base: BASE,
    sleep: async (milliseconds: number) => void waits.push(milliseconds),
  };
  beforeEach(() => waits.splice(0));

  test("too many requests: it waits as long as the hub asks for", async () => {
    hub.uploads.busy = 2;
    await push(world.pool, ID, options);
    expect(waits).toEqual([1000, 1000]);
    expect(hub.files(ID).has("pool.json")).toBe(true);
  });

  test("broken uploads are tried again, and given up in the end", async () => {
    hub.uploads.broken = 2;
    await push(world.pool, ID, options);
    expect(hub.files(ID).has("pool.json")).toBe(true);
    hub.uploads.broken = 100;
    await cp(world.pool, at("other"), { recursive: true });
    await writeFile(at("other/experts/blue/average_activation.safetensors"), "an object that the hub does not have");
    expect(await rejection(push(at("other"), "flock/other", options))).toMatchObject({ code: "hub-upload-failed" });
  });

  test("somebody else commits meanwhile: nothing of theirs is lost", async () => {
    hub.uploads.beforeCommit = () => {
      hub.uploads.beforeCommit = undefined;
      hub.add(ID, new Map([...hub.files(ID), ["theirs.txt", Buffer.from("t")]]));
    };
    expect(await rejection(push(world.pool, ID, options))).toMatchObject({ code: "hub-moved" });
    expect([...hub.files(ID).keys()]).toContain("theirs.txt");
    await push(world.pool, ID, options);
    expect([...hub.files(ID).keys()]).toEqual(expect.arrayContaining(["theirs.txt", "pool.json"]));
  });

  test("a push of many experts is cut into small commits, and goes on where it was killed", async () => {
    await cp(world.pool, at("many"), { recursive: true });
    const pool = JSON.parse(await readFile(at("many/pool.json"), "utf8"));
    const [first] = pool.experts;
    for (let i = 0; i < 30; i++) {
      await cp(at("many/experts/red"), at(`many/experts/e${i}`), { recursive: true });
      pool.experts.push({ ...first, name: `e${i}`, path: `experts/e${i}` });
    }
    await writeFile(at("many/pool.json"), JSON.stringify(pool));
    let commits = 0;
    hub.uploads.beforeCommit = () => {
      if (++commits === 2) throw new Error("killed");
    };
    const killed = push(at("many"), ID, {
      ...options,
      onCommit: (done) => {
        if (done === 1) throw new Error("killed");
      },
    });
    await expect(killed).rejects.toThrow("killed");
    hub.uploads.beforeCommit = undefined;
    expect(hub.files(ID).has("pool.json")).toBe(false);
    const sent = hub.uploads.commits.flat().length;
    const resumed = await push(at("many"), ID, options);
    expect(resumed.same).toBe(sent);
    expect(hub.uploads.commits.every((paths) => paths.length < 100)).toBe(true);
    expect(hub.uploads.commits.at(-1)).toContain("pool.json");
  });
});

test("a search lists adapters with rank and size, and whether they would load, without their weights", async () => {
  await skein("push", world.pool, ID, ...ABOUT);
  const config = text("experts/red/adapter_config.json");
  hub.add("flock/pickled", { "adapter_config.json": config, "adapter_model.bin": "x" });
  hub.add("flock/odd", {
    "adapter_config.json": '{"peft_type": "PREFIX_TUNING"}',
    "adapter_model.safetensors": hub.files(ID).get("experts/red/adapter_model.safetensors")!,
  });
  hub.add("flock/short", { "adapter_config.json": config, "adapter_model.safetensors": "x" });
  for (const id of [ID, "flock/pickled", "flock/odd", "flock/short"]) hub.tags.set(id, ["peft", `base_model:adapter:${BASE}`]);
  hub.add("flock/other-base", { "adapter_config.json": config });
  hub.tags.set("flock/other-base", ["peft"]);
  hub.sent = 0;
  const found = JSON.parse((await skein("search", "flock", "--base", BASE, "--json")).out) as {
    id: string;
    loads: boolean;
    problem?: string;
  }[];
  expect(found.map(({ id, loads }) => [id, loads]).sort()).toEqual([
    [`${ID}/experts/blue`, true],
    [`${ID}/experts/red`, true],
    ["flock/odd", false],
    ["flock/pickled", false],
    ["flock/short", false],
  ]);
  const red = found.find(({ id }) => id.endsWith("red"))!;
  expect(red).toMatchObject({ base: BASE, kind: "lora", gates: true, ranks: [expect.any(Number)], modules: expect.any(Number) });
  expect(found.find(({ id }) => id === "flock/pickled")!.problem).toContain("pickle");
  const tensors = [...hub.files(ID)]
    .filter(([path]) => path.endsWith("adapter_model.safetensors"))
    .reduce((sum, [, { length }]) => sum + length, 0);
  expect(hub.sent).toBeLessThan(tensors / 2 + 20_000);
  const { out } = await skein("search", "pickled");
  expect(out).toMatch(/adapter +base +rank[\s\S]*flock\/pickled.*no: It is a pickle/);
  expect((await skein("search", "nothing-like-it")).err).toContain("no adapter of this name");
});

test("LoraHub's list of 196 modules is read, planned, and added where it was stopped, pickles converted", async () => {
  await skein("pool", "create", at("lorahub"), "--base", world.base);
  const planned = await skein("pool", "add", at("lorahub"), "--list", "recipes/pools/lorahub.yaml", "--convert", "--dry-run", "--json");
  const { wouldAdd } = JSON.parse(planned.out);
  expect(wouldAdd).toHaveLength(196);
  expect(wouldAdd).toContain("lorahub/flan_t5_large-glue_mrpc");
  expect(planned.err).toContain("The list is for google/flan-t5-large");

  const adapter = (name: string) => readFile(join(world.experts, "red", name));
  const config = await adapter("adapter_config.json");
  for (const name of ["a", "b"])
    hub.add(`flock/lora-${name}`, {
      "adapter_config.json": config,
      "adapter_model.safetensors": await adapter("adapter_model.safetensors"),
    });
  hub.add("flock/lora-c", { "adapter_config.json": config, "adapter_model.bin": "no pickle" });
  await writeFile(at("list.yaml"), `name: small\nbase: ${world.base}\nprefix: flock/lora-\nadapters: [a, b, c]\n`);
  const add = ["pool", "add", at("lorahub"), "--base", world.base, "--list", at("list.yaml")];
  expect(await skein(...add)).toMatchObject({ code: 1, err: expect.stringContaining("adapter_model.bin") });
  expect((await skein(...add, "--convert")).code).toBe(1); // read as a pickle, and refused as none
  expect((await readdir(at("lorahub/experts"))).sort()).toEqual(["a", "b"]);
  expect(JSON.parse((await skein(...add, "--dry-run", "--json")).out).wouldAdd).toEqual(["flock/lora-c"]);
  await writeFile(at("twice.yaml"), "name: x\nbase: y\nadapters: [p/a, q/a]\n");
  expect((await skein("pool", "add", at("lorahub"), "--list", at("twice.yaml"))).err).toContain('Two adapters would be called "a"');
});

test("the commands of the guide run", async () => {
  const guide = await readFile(new URL("../../docs/guide/sharing.md", import.meta.url), "utf8");
  const commands = [...guide.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block!.trim().split("\n"));
  expect(commands.length).toBeGreaterThan(8);
  await cp(world.pool, at("guide/my-pool"), { recursive: true });
  await cp(world.base, at("guide/models/llama"), { recursive: true });
  await cp(join(world.experts, "green"), at("guide/experts/green"), { recursive: true });
  hub.tags.set("flock/green", ["peft", `base_model:adapter:${BASE}`]);
  for (const command of commands) {
    const [program, ...rest] = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    expect(program).toBe("skein");
    // Files of the guide lie below the folder; names on the hub stay.
    const words = rest.map((word) => (/^(?:my-pool|goose|models\/|experts\/)/.test(word) ? at(`guide/${word}`) : word));
    const { code, err } = await skein(...words);
    expect(code, `${command}\n${err}`).toBe(0);
  }
});
