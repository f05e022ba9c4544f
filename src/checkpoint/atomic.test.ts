import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { UserError } from "../base/errors.ts";
import { makeFolder, replaceFile, writeAll, writeFileAtomically } from "./atomic.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-atomic-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("the file is replaced, and its folders are made", async () => {
  const path = join(folder, "deep", "er", "file.txt");
  await writeFileAtomically(path, "old");
  await writeFileAtomically(path, "né");
  expect(await readFile(path, "utf8")).toBe("né");
  expect(await readdir(join(folder, "deep", "er"))).toEqual(["file.txt"]);
});

test.skipIf(process.platform !== "linux")("a full disk leaves the old file as it was and nothing beside it", async () => {
  const path = join(folder, "file.bin");
  await writeFile(path, "old");
  const writing = replaceFile(path, async (handle) => {
    await writeAll(handle, new Uint8Array(100));
    const full = await open("/dev/full", "w"); // a device that is always full
    await writeAll(full, new Uint8Array(1)).finally(() => full.close());
  });
  await expect(writing).rejects.toThrow(UserError);
  await expect(writing).rejects.toThrow(/ENOSPC[\s\S]*Free some space/);
  expect(await readFile(path, "utf8")).toBe("old");
  expect(await readdir(folder)).toEqual(["file.bin"]);
});

test("a failure of the writer itself passes through, and nothing is left", async () => {
  const bug = new RangeError("bug");
  await expect(replaceFile(join(folder, "x"), () => Promise.reject(bug))).rejects.toBe(bug);
  expect(await readdir(folder)).toEqual([]);
});

test("a file in the place of a folder is the user's to mend", async () => {
  await writeFile(join(folder, "file"), "");
  await expect(writeFileAtomically(join(folder, "file", "below"), "x")).rejects.toThrow(UserError);
});

test.skipIf(process.platform !== "linux")("a folder that takes no others is an error, not a wait without end", async () => {
  await expect(makeFolder("/proc/skein/below")).rejects.toThrow(UserError);
});

test("folders may be made side by side", async () => {
  await Promise.all(["a", "b", "c"].map((name) => makeFolder(join(folder, "deep", "er", name))));
  expect((await readdir(join(folder, "deep", "er"))).sort()).toEqual(["a", "b", "c"]);
});
