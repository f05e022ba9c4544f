/** @file Tests of the playground's other views in headless Chromium: comparing, the pool, results, links and files; errors as sentences, and keys. */

import { cp, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Download, Page } from "playwright-core";
import { afterEach, beforeAll, expect, test } from "vitest";
import { openEngine } from "../../src/server/open-engine.ts";
import { startServer } from "../../src/server/serve.ts";
import { withMoaRouters } from "../../src/server/tiny-world.test-helper.ts";
import { answered, generate, opened, type Playground, SOON, tokens, violations } from "./browser.ts";

export function testOtherViews(shared: () => Playground): void {
  let all: Playground;
  let page: Page;
  beforeAll(() => {
    all = shared();
  });
  afterEach(() => page?.close());

  const go = (name: string) => page.getByRole("button", { name, exact: true }).click();
  const problem = () => page.locator(".problem").textContent();

  test("4: methods side by side, with the differences marked", async () => {
    page = await opened(all);
    await go("Compare");
    await page.getByRole("button", { name: "add a method" }).click();
    await page.getByLabel("Method 2", { exact: true }).selectOption("base");
    await page.getByLabel("Method 3", { exact: true }).selectOption("expert blue");
    await page.locator("#prompt").fill("once upon");
    await page.locator("button.main").click();
    await expect.poll(() => page.locator(".columns .facts").count(), SOON).toBe(3);
    const texts = await page.locator(".columns .note").allTextContents();
    expect(texts).toHaveLength(2);
    for (const text of texts) expect(text).toMatch(/^Against the first: (\d+ (new|gone)|the same text)/);
    expect(await page.getByRole("region", { name: "Answer of the base alone" }).textContent()).toContain("not routed");
    expect(await violations(page)).toEqual([]);
  });

  test("4: PHATGOOSE beside a Mixture-of-LoRAs by vote and Arrow, whose other experts are marked", async () => {
    const pool = join(all.folder, "moa-pool");
    await cp(all.world.pool, pool, { recursive: true });
    await withMoaRouters({ base: all.world.base, pool });
    const server = await startServer(await openEngine({ base: all.world.base, name: "tiny", pool, watchEvery: 0 }), all.options);
    page = await opened({ ...all, server });
    await page.getByLabel("Experts per token").fill("2"); // a Mixture-of-LoRAs takes none: Compare leaves it out
    await page.getByLabel("Experts per token").blur();
    await go("Compare");
    await page.getByRole("button", { name: "add a method" }).click();
    for (const [i, method] of ["phatgoose", "moa-vote", "arrow"].entries()) {
      await page.getByLabel(`Method ${i + 1}`, { exact: true }).selectOption(method);
    }
    await page.locator("#prompt").fill("once upon");
    await page.locator("button.main").click();
    await expect.poll(() => page.locator(".columns .facts").count(), SOON).toBe(3);
    expect(await problem()).toBe("");
    const ofMoa = page.getByRole("region", { name: "Answer of moa-vote" });
    const titles = await ofMoa
      .locator("[role=option]")
      .evaluateAll((marks) => [...new Set(marks.map((mark) => mark.getAttribute("title")))]);
    expect(titles).toHaveLength(1); // a text has one domain
    expect(titles[0]).toMatch(/^(red|blue), 100 %$/);
    for (const name of ["moa-vote", "arrow"]) {
      const column = page.getByRole("region", { name: `Answer of ${name}` });
      const told = /Against the first: (?:(\d+) new tokens?, )?(?:(\d+) gone, )?(?:(\d+) served by another expert)?/;
      const [, fresh = "0", , moved = "0"] = told.exec((await column.locator(".note").textContent())!)!;
      expect(await column.locator(".changed.text").count()).toBe(Number(fresh));
      expect(await column.locator(".changed:not(.text)").count()).toBe(Number(moved));
      expect(Number(fresh) + Number(moved)).toBeGreaterThan(0);
    }
    await server.close(1000);
  });

  test("6: experts ranked by what they know of a text", async () => {
    page = await opened(all);
    await go("Pool");
    const panel = page.getByRole("region", { name: "Which expert knows this?" });
    await panel.getByLabel("Text").fill("once upon a time");
    await panel.getByRole("button", { name: "Rank the experts" }).click();
    const rows = panel.locator("tbody tr");
    await expect.poll(() => rows.count(), SOON).toBe(2);
    const cells = await rows.evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent!.trim())));
    expect(cells.map(([name]) => name).sort()).toEqual(["blue", "red"]);
    expect(cells[0]![1]).toMatch(/^★ \d+(\.\d)? %$/);
    const losses = cells.map((row) => row[2]!);
    for (const loss of losses) expect(loss).toMatch(/^(★ )?\d+\.\d{3}$/);
    expect(losses.filter((loss) => loss.startsWith("★"))).toHaveLength(1);
    expect(await panel.locator(".note").textContent()).toMatch(/under phatgoose.*the base has \d\.\d{3}.*Retrieval is left out/);
    expect(await violations(page)).toEqual([]);
  });

  test("6: the pool's cards, curves, load and similarity", async () => {
    page = await opened(all);
    await generate(page, "hello");
    await go("Pool");
    await page.getByRole("button", { name: "red", exact: true }).click();
    const card = page.getByRole("region", { name: "Expert red" });
    expect(await card.textContent()).toMatch(/parameters .* sha256 [0-9a-f]{12}/);
    expect(await card.textContent()).toMatch(/Most alike: blue -?\d\.\d\d/);
    expect(await card.locator("svg polyline").count()).toBe(1);
    expect(await page.getByRole("region", { name: "Load by layer" }).textContent()).toMatch(/layer 0/);
    expect(await page.getByRole("region", { name: "Table of similarity" }).locator("td").allTextContents()).toContain("");
    expect(await violations(page)).toEqual([]);
  });

  test("7: from results to items that one method got wrong and another right, and to an item's trace", async () => {
    page = await opened(all);
    await go("Results");
    await page.getByLabel("right under").selectOption("phatgoose");
    await expect.poll(() => page.locator(".items li").count(), SOON).toBeGreaterThan(0);
    const item = page.locator(".items li").first();
    expect(await item.locator(".wrong").textContent()).toContain("wrong");
    expect(await item.locator(".right").textContent()).toMatch(/✓ word \d+/);
    expect(await violations(page)).toEqual([]);
    const input = await item.locator("code").textContent();
    await item.getByRole("button", { name: "trace with phatgoose" }).click();
    await answered(page);
    expect(await page.locator("#prompt").inputValue()).toBe(input);
    expect((await tokens(page)).length).toBeGreaterThan(0);
  });

  test("8: a link brings the session back, and so do JSON and a page without a server; CSV has every route", async () => {
    page = await opened(all);
    await generate(page, "hello <there> & co");
    const answer = await tokens(page);
    await go("Share");
    await go("Make a link");
    expect(await violations(page)).toEqual([]);
    const link = await page.getByRole("textbox", { name: "Link" }).inputValue();
    expect(link).toMatch(/#s=[\w-]+$/);
    const save = async (name: string): Promise<string> => {
      const [download] = await Promise.all([page.waitForEvent("download") as Promise<Download>, go(name)]);
      const path = join(all.folder, download.suggestedFilename());
      await download.saveAs(path);
      return path;
    };
    const [json, csv, html] = [await save("Save as JSON"), await save("Save as CSV"), await save("Save as a page")];
    const lines = (await readFile(csv, "utf8")).split("\r\n");
    expect(lines[0]).toBe("token,id,text,probability,module,expert,weight");
    expect(lines.length).toBeGreaterThan(answer.length);
    const other = await all.context.newPage();
    await other.goto(link);
    await answered(other);
    expect(await tokens(other)).toEqual(answer);
    await other.goto(pathToFileURL(html).href);
    await other.locator(".answer [role=option]").first().waitFor();
    expect(await tokens(other)).toEqual(answer);
    expect(await other.locator(".problem").textContent()).toBe("");
    await other.close();
    for (const file of [json, html]) {
      await page.reload();
      await go("Share");
      await page.getByLabel(/Open a saved session/).setInputFiles(file);
      await expect.poll(() => tokens(page), SOON).toEqual(answer);
    }
    // A file that is opened while another answer is awaited stays.
    await page.route("**/skein/generate", async (route) => {
      await page.waitForTimeout(500);
      await route.continue().catch(() => {}); // the page may have given the request up
    });
    await page.locator("#prompt").fill("another text");
    await go("Generate");
    await go("Share");
    await page.getByLabel(/Open a saved session/).setInputFiles(json);
    await expect.poll(() => page.locator("#prompt").inputValue(), SOON).toBe("hello <there> & co");
    await page.waitForTimeout(1500);
    expect(await tokens(page)).toEqual(answer);
    await page.unroute("**/skein/generate");
    const broken = join(all.folder, "broken.json");
    await writeFile(broken, '{"skein":1,"prompt":7}');
    await go("Share");
    await page.getByLabel(/Open a saved session/).setInputFiles(broken);
    await expect.poll(problem, SOON).toMatch(/cannot be read .* Choose a JSON or HTML file/);
    await page.goto(`${all.server.url}/#s=AAAA`);
    await page.reload();
    await expect.poll(problem, SOON).toMatch(/This link cannot be read/);
  });

  test("an expert that is gone, a full server and a dead one are sentences with what to do", async () => {
    page = await opened(all);
    await page.route("**/skein/generate", (route) =>
      route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), routing: { experts: ["green"] } }) }),
    );
    await page.locator("#prompt").fill("hello");
    await go("Generate");
    await expect.poll(problem, SOON).toMatch(/no expert "green".*choose the experts again/);
    await page.unroute("**/skein/generate");
    const full = await all.serve({ limits: { queue: 1 } });
    let isOver = false;
    const ask = { model: "tiny", prompt: "a", max_tokens: 900, ignore_eos: true, temperature: 0 };
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(ask) };
    const keepBusy = async () => {
      while (!isOver) await (await fetch(`${full.url}/v1/completions`, init)).text();
    };
    const busy = [keepBusy(), keepBusy()]; // one is answered, the other takes its place
    await page.goto(full.url);
    await page.locator("#prompt").fill("hello");
    const tried = async () => {
      await go("Generate");
      return problem();
    };
    await expect.poll(tried, SOON).toMatch(/as many requests as it takes.*Wait 2 seconds/);
    isOver = true;
    await Promise.all(busy);
    await page.route("**/skein/generate", (route) => route.abort("connectionrefused"));
    await go("Generate");
    await expect.poll(problem, SOON).toMatch(/does not answer\. Look whether skein serve still runs/);
  });

  test("a server with keys asks for one, and the page keeps it for its tab", async () => {
    const keys = join(all.folder, "keys");
    await writeFile(keys, "me secret\n");
    const server = await all.serve({ apiKeys: keys });
    page = await opened({ ...all, server });
    await page.getByLabel("API key").fill("wrong");
    await go("Use it");
    await expect.poll(problem, SOON).toMatch(/Enter the server's API key/);
    await page.getByLabel("API key").fill("secret");
    await go("Use it");
    await generate(page, "hello");
    await page.reload();
    await generate(page, "hello again");
  });

  test("the page is small, loads nothing from elsewhere, and forbids it", async () => {
    page = await all.context.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).origin));
    const answer = await page.goto(all.server.url);
    const policy = answer!.headers()["content-security-policy"];
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    await page.getByRole("button", { name: "Generate" }).waitFor();
    expect(new Set(asked)).toEqual(new Set([all.server.url]));
    const files = ["index.html", "playground/app.js", "playground/app.css"].map(
      (name) => new URL(`../../dist/web/${name}`, import.meta.url),
    );
    const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(file)).length));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(200_000);
    expect((await stat(files[1]!)).size).toBeGreaterThan(0);
  });
}
