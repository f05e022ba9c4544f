import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeHub } from "../../../tests/fake-hub.ts";
import { DataError } from "../../base/errors.ts";
import type { DataRequest } from "./choose-data.ts";
import { findDataFiles } from "./find-data.ts";
import { hubDatasets } from "./hub-data.ts";

const NAME = "flock/honks";
const REPOSITORY = `datasets/${NAME}`;
const COPY = { revision: "refs/convert/parquet" };
const row = (text: string) => `${JSON.stringify({ input: text, target: text })}\n`;

let folder: string;
let hub: FakeHub;
let env: Record<string, string>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-hub-data-"));
  hub = new FakeHub();
  env = { HF_HOME: join(folder, "home"), HF_ENDPOINT: await hub.start() };
});
afterEach(async () => {
  hub.stop();
  await rm(folder, { recursive: true });
});

const cache = (): string => join(folder, "home", "hub", "datasets--flock--honks");
/** The paths chosen, from the snapshot's folder. */
async function chosen(request: Omit<DataRequest, "dataset">, options = {}): Promise<string[]> {
  const files = await hubDatasets({ env, ...options })({ dataset: NAME, ...request });
  return files.map((file) => relative(join(cache(), "snapshots"), file).split("/").slice(1).join("/"));
}
const test1 = { splits: ["test"] };

describe("which files are fetched", () => {
  test("those that the card names for configuration and split, by pattern and in order, and no others", async () => {
    hub.add(REPOSITORY, {
      "README.md": `---
license: mit
configs:
- config_name: loud
  data_files:
  - split: train
    path: loud/train-*
  - split: test
    path: ["extra/{a,b}.parquet", "loud/te?t-[0-9]*.parquet"]
- config_name: quiet
  default: true
  data_files: quiet/**/*.jsonl
---
# Honks
`,
      "loud/train-00000-of-00002.parquet": "t0",
      "loud/train-00001-of-00002.parquet": "t1",
      "loud/deep/train-x.parquet": "not in the folder itself",
      "loud/test-00000-of-00001.parquet": "e0",
      "extra/a.parquet": "a",
      "extra/c.parquet": "c",
      "quiet/one.jsonl": row("1"),
      "quiet/deep/two.jsonl": row("2"),
      "quiet/readme.txt": "no data",
    });
    const train = ["loud/train-00000-of-00002.parquet", "loud/train-00001-of-00002.parquet"];
    const tests = ["extra/a.parquet", "loud/test-00000-of-00001.parquet"];
    expect(await chosen({ config: "loud", splits: ["test", "train"] })).toEqual([...tests, ...train]);
    expect(hub.fetched.sort()).toEqual([...tests, ...train].sort());
    expect(await chosen({ splits: ["train"] })).toEqual(["quiet/deep/two.jsonl", "quiet/one.jsonl"]);
    await expect(chosen({ config: "silent", ...test1 })).rejects.toThrow(/configurations loud, quiet/);
    await expect(chosen({ config: "quiet", ...test1 })).rejects.toThrow(/configuration quiet, split test/);
  });

  const byName: [string, Record<string, string>, Omit<DataRequest, "dataset">, string[]][] = [
    ["of the split", { "data/train.csv": "a", "data/test.csv": "b" }, test1, ["data/test.csv"]],
    ["in a folder of the split", { "train/1.jsonl": "a", "test/1.jsonl": "b" }, test1, ["test/1.jsonl"]],
    ["of another spelling", { "train.tsv": "a", "dev.tsv": "b" }, { splits: ["validation"] }, ["dev.tsv"]],
    [
      "exact where shards are counted",
      { "m/validation_2-00000-of-00001.parquet": "", "m/validation-00000-of-00001.parquet": "" },
      { config: "m", splits: ["validation"] },
      ["m/validation-00000-of-00001.parquet"],
    ],
    ["of one format", { "test.csv": "a", "test.parquet": "b", "test.json": "c" }, test1, ["test.parquet"]],
    ["of the only configuration", { "plain/test.json": "a", "plain/dev_r1.json": "b" }, { splits: ["dev_r1"] }, ["plain/dev_r1.json"]],
    ["that are all there is, as train", { "honks.json": "a" }, { splits: ["train"] }, ["honks.json"]],
    ["gzipped", { "test.jsonl.gz": "a", "test.txt": "b" }, test1, ["test.jsonl.gz"]],
    ["in data_dir", { "a/test.json": "a", "b/test.json": "b" }, { ...test1, subfolder: "b/" }, ["b/test.json"]],
    [
      "of data_files",
      { "a/x.json": "a", "a/y.json": "b", "test.json": "c" },
      { ...test1, files: new Map([["test", ["./a/*.json"]]]) },
      ["a/x.json", "a/y.json"],
    ],
  ];
  test.each(byName)("without a card, files %s", async (_, files, request, expected) => {
    hub.add(REPOSITORY, { ...files, "README.md": "# No list here" });
    hub.pageSize = 2;
    expect(await chosen(request)).toEqual(expected);
    expect(hub.fetched).toEqual(expected.filter((path) => files[path] !== ""));
  });

  test("the Parquet copy of a script, in its present and its older layout", async () => {
    hub.add(REPOSITORY, { "honks.py": "script", "loud/test.jsonl": "what only the script can read" });
    hub.add(REPOSITORY, { "loud/test/0000.parquet": "p", "loud/train/0000.parquet": "q", "loud/train/0001.parquet": "r" }, COPY);
    expect(await chosen({ config: "loud", ...test1 })).toEqual(["loud/test/0000.parquet"]);
    expect(await chosen({ config: "loud", splits: ["train"] })).toEqual(["loud/train/0000.parquet", "loud/train/0001.parquet"]);
    expect(hub.fetched).not.toContain("loud/test.jsonl");
    expect(await readFile(join(cache(), "refs", "refs", "convert", "parquet"), "utf8")).toMatch(/^[0-9a-f]{40}$/);
    hub.add(REPOSITORY, { "loud/honks-test.parquet": "p", "loud/honks-validation.parquet": "v" }, COPY);
    expect(await chosen({ config: "loud", splits: ["validation"] })).toEqual(["loud/honks-validation.parquet"]);
  });

  test("the Parquet copy where the data are in another format, but not its partial splits", async () => {
    hub.add(REPOSITORY, { "test.zip": "zipped" });
    hub.add(REPOSITORY, { "default/test/0000.parquet": "p", "default/partial-train/0000.parquet": "q" }, COPY);
    expect(await chosen(test1)).toEqual(["default/test/0000.parquet"]);
    await expect(chosen({ splits: ["train"] })).rejects.toThrow(/partial- is only the beginning/);
  });

  test("a script's own files where the hub made no copy", async () => {
    hub.add(REPOSITORY, { "honks.py": "script", "test.jsonl": row("1") });
    expect(await chosen(test1)).toEqual(["test.jsonl"]);
  });
});

describe("the cache", () => {
  test("is Python's, and asked for once", async () => {
    const commit = hub.add(REPOSITORY, { "README.md": "# Honks", "test.jsonl": row("1") });
    const source = hubDatasets({ env });
    const [file] = await source({ dataset: NAME, ...test1 });
    expect(file).toBe(join(cache(), "snapshots", commit, "test.jsonl"));
    expect(await readFile(file!, "utf8")).toBe(row("1"));
    expect(await readFile(join(cache(), "refs", "main"), "utf8")).toBe(commit);
    const before = hub.requests.length;
    await source({ dataset: NAME, ...test1 });
    expect(hub.requests.length).toBe(before);
    await hubDatasets({ env })({ dataset: NAME, ...test1 });
    expect(hub.requests.slice(before).filter((request) => request.includes("/resolve/"))).toEqual([]);
  });

  test("serves offline and when the hub cannot be reached, the card included", async () => {
    hub.add(REPOSITORY, {
      "README.md": "---\nconfigs:\n- config_name: a\n  data_files: [x.csv]\n---\n",
      "x.csv": "q\n1\n",
      "train.csv": "",
    });
    const request = { splits: ["train"] };
    expect(await chosen(request)).toEqual(["x.csv"]);
    hub.requests.length = 0;
    env.HF_HUB_OFFLINE = "1";
    expect(await chosen(request)).toEqual(["x.csv"]);
    expect(hub.requests).toEqual([]);
    delete env.HF_HUB_OFFLINE;
    expect(await chosen(request, { fetch: () => Promise.reject(new TypeError("fetch failed")) })).toEqual(["x.csv"]);
  });

  test("of a script holds its Parquet copy, offline too", async () => {
    hub.add(REPOSITORY, { "honks.py": "script", "README.md": "#" });
    hub.add(REPOSITORY, { "default/test/0000.parquet": "p" }, COPY);
    await chosen(test1);
    env.HF_HUB_OFFLINE = "1";
    expect(await chosen(test1)).toEqual(["default/test/0000.parquet"]);
    const [found] = await findDataFiles({ dataset: NAME, ...test1 }, { folders: [join(folder, "home")] });
    expect(found).toMatch(/default\/test\/0000\.parquet$/);
  });

  test("HF_HUB_CACHE, a pinned revision, and the token", async () => {
    const commit = hub.add(REPOSITORY, { "test.jsonl": row("old") }, { revision: "v1" });
    hub.add(REPOSITORY, { "test.jsonl": row("new") });
    const elsewhere = { ...env, HF_HUB_CACHE: join(folder, "elsewhere"), HF_TOKEN: "hf_mine" };
    const [file] = await hubDatasets({ env: elsewhere })({ dataset: NAME, revision: "v1", ...test1 });
    expect(file).toBe(join(folder, "elsewhere", "datasets--flock--honks", "snapshots", commit, "test.jsonl"));
    expect(await readFile(file!, "utf8")).toBe(row("old"));
    expect([...hub.authorizations]).toEqual(["Bearer hf_mine"]);
  });

  test("an interrupted download shows nothing of the split, and goes on where it stopped", async () => {
    const big = row("x".repeat(200_000));
    hub.add(REPOSITORY, { "README.md": "# Honks", "test-1.jsonl": row("1"), "test-2.jsonl": big });
    hub.cutAfter = 60_000;
    await expect(chosen(test1)).rejects.toThrow(/goes on where it stopped/);
    const [snapshot = ""] = await readdir(join(cache(), "snapshots"));
    expect(await readdir(join(cache(), "snapshots", snapshot))).toEqual(["README.md"]);
    hub.sent = 0;
    const loaded: number[] = [];
    const onProgress = ({ loadedBytes }: { loadedBytes: number }) => void loaded.push(loadedBytes);
    expect(await chosen(test1, { onProgress })).toEqual(["test-1.jsonl", "test-2.jsonl"]);
    expect(loaded[0]).toBeGreaterThan(60_000);
    expect(hub.sent).toBeLessThan(big.length);
    expect(await readFile(join(cache(), "snapshots", snapshot, "test-2.jsonl"), "utf8")).toBe(big);
  });

  test("folders come first, then the hub", async () => {
    hub.add(REPOSITORY, { "test.jsonl": row("hub"), "train.jsonl": row("hub") });
    await writeFile(join(folder, "honks_test.jsonl"), row("folder"));
    const sources = { folders: [folder], elsewhere: hubDatasets({ env }) };
    expect(await findDataFiles({ dataset: NAME, ...test1 }, sources)).toEqual([join(folder, "honks_test.jsonl")]);
    expect(hub.requests).toEqual([]);
    const [train] = await findDataFiles({ dataset: NAME, splits: ["train"] }, sources);
    expect(await readFile(train!, "utf8")).toBe(row("hub"));
  });
});

describe("refused with dataset, configuration, split and what to do", () => {
  const publish = (files: Record<string, string>, trouble: Partial<FakeHub> = {}) => {
    hub.add(REPOSITORY, files);
    Object.assign(hub, trouble);
  };
  const cases: [string, RegExp, () => unknown][] = [
    ["offline and not cached", /dataset is not in the cache[\s\S]*Unset HF_HUB_OFFLINE/, () => Object.assign(env, { HF_HUB_OFFLINE: "1" })],
    ["unknown", /knows no such dataset or revision[\s\S]*huggingface\.co\/datasets\/flock\/honks/, () => undefined],
    ["gated", /gated or private[\s\S]*HF_TOKEN/, () => Object.assign(hub, { status: 401 })],
    ["a broken hub", /fetching it from http:\/\/127[\s\S]*Check the network/, () => Object.assign(hub, { status: 503 })],
    ["no such split", /It has the files train\.jsonl[\s\S]*Parquet copy[\s\S]*knows no such/, () => publish({ "train.jsonl": row("1") })],
    ["no data at all", /no data files that can be read/, () => publish({ "images.zip": "x" })],
    ["a card that is wrong", /configs in this dataset's README[\s\S]*data_files/, () => publish({ "README.md": card("data_files: 3") })],
    ["a shard that is missing", /Of the 2 parts of loud\/test only 1/, () => publish({ "loud/test-00000-of-00002.csv": "a" })],
    ["content with another hash", /other content than/, () => publish({ "loud/test.csv": "a" }, { corrupt: true })],
    ["a size that lies", /other content than/, () => publish({ "loud/test.csv": "a" }, { surplus: 9 })],
    ["a path that leaves the folder", /outside the repository's folder/, () => publish({ "test/../../../../test.csv": "a" })],
  ];
  const card = (files: string) => `---\nconfigs:\n- config_name: c\n  ${files}\n---\n`;
  test.each(cases)("%s", async (_, reason, arrange) => {
    arrange();
    const choosing = chosen({ config: "loud", ...test1 }).catch((error: unknown) => error);
    expect(await choosing).toBeInstanceOf(DataError);
    const { message } = (await choosing) as DataError;
    expect(message).toMatch(reason);
    expect(message).toMatch(/flock\/honks[\s\S]*configuration loud, split test/);
  });

  test("a revision that climbs", async () => {
    await expect(chosen({ revision: "../../x", ...test1 })).rejects.toThrow(/no revision called/);
  });
});
