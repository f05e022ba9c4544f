/** @file Opening a browser: the command of each system, a program that is found, and one that is missing. */

import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browserCommand, openBrowser } from "./open-browser.ts";

const URL = "http://127.0.0.1:8080/";
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "skein-browser-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("each system has its command, and a machine without a screen none", () => {
  expect(browserCommand(URL, { platform: "darwin", env: {} })).toEqual(["open", URL]);
  expect(browserCommand(URL, { platform: "win32", env: {} })?.at(-1)).toBe(URL);
  expect(browserCommand(URL, { platform: "linux", env: { WAYLAND_DISPLAY: "wayland-0" } })).toEqual(["xdg-open", URL]);
  expect(browserCommand(URL, { platform: "linux", env: {} })).toBeUndefined();
});

test.skipIf(process.platform === "win32")("the program gets the address; a missing one is no error", async () => {
  const [program, seen] = [join(folder, "xdg-open"), join(folder, "seen")];
  await writeFile(program, `#!/bin/sh\nprintf %s "$1" > '${seen}'\n`);
  await chmod(program, 0o755);
  const env = { DISPLAY: ":0", PATH: `${folder}${delimiter}${process.env.PATH}` };
  openBrowser(URL, { platform: "linux", env });
  await expect.poll(() => readFile(seen, "utf8").catch(() => ""), { timeout: 20_000 }).toBe(URL);
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.once("uncaughtException", note);
  openBrowser(URL, { platform: "linux", env: { DISPLAY: ":0", PATH: join(folder, "nowhere") } });
  await new Promise((next) => setTimeout(next, 200)); // the error would come from the event loop
  process.off("uncaughtException", note);
  expect(unhandled).toEqual([]);
});
