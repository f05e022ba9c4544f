/** @file Tests of the playground's first view in headless Chromium: the stream, one token, the map, switches and spans, keys and widths. */

import type { Page } from "playwright-core";
import { afterEach, expect, test } from "vitest";
import { STANDARD } from "../../web/src/run.ts";
import type { Session } from "../../web/src/session.ts";
import { answered, generate, opened, type Playground, SOON, tokens, violations } from "./browser.ts";

export function testPlayView(shared: () => Playground): void {
  let page: Page;
  afterEach(() => page?.close());

  /** The page with an answer of at most 12 tokens. */
  async function withAnswer(): Promise<void> {
    page = await opened(shared());
    await page.getByLabel("Most tokens").fill("12");
    await page.getByLabel("Most tokens").blur();
    await generate(page, "hello there");
  }
  const marks = () => page.locator(".answer [role=option]");
  const told = () => page.locator("#map-told").textContent();

  test("1: the answer streams, marked by expert with letters and names, and says what it cost", async () => {
    await withAnswer();
    expect(await marks().count()).toBeGreaterThan(1);
    const first = marks().first();
    expect(await first.getAttribute("aria-label")).toMatch(/: (red|blue), \d+ %/);
    expect(await first.getAttribute("class")).toMatch(/expert k\d p\d/);
    expect(await first.getAttribute("data-letters")).toMatch(/^(re|bl)$/);
    const facts = /11 tokens read · \d+ in the answer · first after \d+ ms.*routing: \d+ expert updates/;
    expect(await page.locator(".answer .facts").textContent()).toMatch(facts);
    expect(await page.locator(".answer .legend").textContent()).toMatch(/red \d+ %/);
    expect(await page.locator("[role=status]").textContent()).toMatch(/complete, \d+ tokens/);
  });

  test("2: a token shows its experts, the losers' scores, entropy and alternatives, and the answer goes on from one of them", async () => {
    await withAnswer();
    const before = await tokens(page);
    await page.locator('[data-token="1"]').click();
    const panel = page.getByRole("region", { name: "The chosen token" });
    await expect.poll(() => panel.locator(".modules td.number").first().textContent(), SOON).toMatch(/^[01]\.\d\d$/);
    expect(await panel.locator(".modules").textContent()).toMatch(/(red|blue) \d+(\.\d)? %/);
    const choices = panel.locator(".alternatives li");
    expect(await choices.count()).toBe(8);
    expect(await violations(page)).toEqual([]);
    await page.getByLabel("Experts per token").fill("1");
    await page.getByLabel("Experts per token").blur();
    await answered(page);
    await page.locator('[data-token="0"]').click();
    await expect.poll(() => panel.locator(".losers").first().textContent(), SOON).toMatch(/^(red|blue) -?\d+\.\d\d$/); // with k = 1, one of two loses
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator('[data-token="1"]').click();
    const other = choices.filter({ has: page.getByRole("button") }).first();
    const text = await other.locator("code").textContent();
    await other.getByRole("button").click();
    await answered(page);
    const after = await tokens(page);
    expect(after.slice(0, 2)).toEqual([before[0], text]);
    await page.getByRole("button", { name: "Undo" }).click();
    expect(await tokens(page)).toEqual(before);
  });

  test("3: the map tells cells, locks rows and columns, shows entropy and margin, and zooms", async () => {
    await withAnswer();
    const map = page.getByRole("application");
    expect(await map.getAttribute("aria-label")).toMatch(/Map of \d+ tokens and \d+ modules/);
    await map.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    await expect.poll(told, SOON).toMatch(/at model\.layers\.0\S*: (red|blue) \d+/);
    await page.keyboard.press("Escape");
    await page.getByLabel("Show").selectOption("entropy");
    await page.locator(".map-box canvas").click({ position: { x: 110, y: 100 } });
    await expect.poll(told, SOON).toMatch(/entropy [01]\.\d\d, margin [01]\.\d\d$/);
    await page.locator(".map-box canvas").click({ position: { x: 50, y: 100 } });
    await expect.poll(told, SOON).toMatch(/all modules: .*evenness/);
    await page.locator(".map-box canvas").click({ position: { x: 110, y: 60 } });
    await expect.poll(told, SOON).toMatch(/all tokens: .*evenness/);
    const width = () => page.locator(".map-box > div").evaluate((box) => box.clientWidth);
    const narrow = await width();
    await page.getByRole("button", { name: "Larger cells" }).click();
    expect(await width()).toBeGreaterThan(narrow);
    await page.getByLabel("Tokens of").and(page.locator("select")).selectOption("prompt");
    await expect.poll(() => map.getAttribute("aria-label"), SOON).toContain("Map of 11 tokens");
  });

  test("3: a map of 500 tokens and 200 modules from a file draws every cell, zooms, and locks what is pointed at", async () => {
    page = await opened(shared());
    await page.getByRole("button", { name: "Share", exact: true }).click();
    const buffer = Buffer.from(JSON.stringify(wideSession(500, 200)));
    await page.getByLabel(/Open a saved session/).setInputFiles({ name: "wide.json", mimeType: "application/json", buffer });
    const map = page.getByRole("application");
    expect(await map.getAttribute("aria-label")).toMatch(/^Map of 500 tokens and 200 modules/);
    const canvas = page.locator(".map-box canvas");
    const inner = () => page.locator(".map-box > div").evaluate(({ clientWidth, clientHeight }) => [clientWidth, clientHeight]);
    /** The color in the middle of a cell, after the next frame. */
    const colorAt = (row: number, column: number, size: number) =>
      canvas.evaluate(
        async (drawn: HTMLCanvasElement, [x, y]: readonly [number, number]) => {
          await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
          return [...drawn.getContext("2d")!.getImageData(x, y, 1, 1).data].join();
        },
        [LABEL + (column + 0.5) * size, HEAD + (row + 0.5) * size] as const,
      );
    expect(await inner()).toEqual([LABEL + 200 * 18, HEAD + 500 * 18]);
    const smaller = page.getByRole("button", { name: "Smaller cells" });
    for (let size = 18; size > 5; size = Math.round(size * 0.8)) await smaller.click();
    expect(await inner()).toEqual([LABEL + 200 * 5, HEAD + 500 * 5]);
    const [red, blue] = [await colorAt(4, 4, 5), await colorAt(4, 5, 5)]; // row + column says the expert
    expect(red).not.toBe(blue);
    expect([await colorAt(5, 5, 5), await colorAt(20, 30, 5), await colorAt(20, 31, 5)]).toEqual([red, red, blue]);
    await canvas.click({ position: { x: LABEL + 31.5 * 5, y: HEAD + 20.5 * 5 } });
    await expect.poll(told, SOON).toBe("“t20” at model.layers.7.m3: blue 75 %, red 25 %");
    expect(await page.locator('[data-token="20"]').getAttribute("aria-selected")).toBe("true");
    await canvas.click({ position: { x: 50, y: HEAD + 20.5 * 5 } });
    await expect.poll(told, SOON).toMatch(/^“t20”, all modules: (red|blue) 50 %, (red|blue) 50 %; evenness 1.00$/);
    await map.evaluate((box) => box.scrollTo(1e6, 1e6)); // the last cell is at the lower right of what is in sight
    const { width, height } = (await canvas.boundingBox())!;
    await page.waitForFunction(() => (document.querySelector(".map-box")?.scrollTop ?? 0) > 1000);
    await canvas.click({ position: { x: width - 2.5, y: height - 2.5 } });
    await expect.poll(told, SOON).toMatch(/^“t499” at model\.layers\.49\.m3:/);
  });

  test("5: experts go off and on, one serves a span alone, k and temperature change, and undo goes back", async () => {
    await withAnswer();
    const first = await tokens(page);
    const names = () => marks().evaluateAll((all) => all.map((mark) => mark.getAttribute("title")?.split(",")[0]));
    await page.getByRole("checkbox", { name: "red" }).uncheck();
    await answered(page);
    expect(new Set(await names())).toEqual(new Set(["blue"]));
    expect(await page.locator(".changes").textContent()).toMatch(/Against the answer before: /);
    expect(await page.getByRole("checkbox", { name: "blue" }).isDisabled()).toBe(true); // one must stay
    await page.getByRole("button", { name: "Undo" }).click();
    expect(await tokens(page)).toEqual(first);
    await page.locator('[data-token="1"]').click();
    await page.getByLabel("from token 2").fill("2");
    await page.getByLabel("Expert of the span").selectOption("blue");
    await page.getByRole("button", { name: "pin" }).click();
    await answered(page);
    expect((await tokens(page))[0]).toBe(first[0]);
    const pinned = await marks().evaluateAll((all) => all.slice(1, 3).map((mark) => mark.getAttribute("title")));
    for (const title of pinned) expect(title).toBe("blue, 100 %");
    await page.keyboard.press("Control+z");
    expect(await tokens(page)).toEqual(first);
    await page.getByRole("spinbutton", { name: "Temperature", exact: true }).fill("1.5");
    await page.getByRole("spinbutton", { name: "Temperature", exact: true }).blur();
    await answered(page);
    expect(await page.getByLabel("Seed").count()).toBe(1);
  });

  test("9: by keys alone, from the prompt to a token and to a cell of the map", async () => {
    page = await opened(shared());
    /** Presses Tab until the focus is on what the selector names. */
    const tabTo = async (selector: string): Promise<void> => {
      for (let i = 0; i < 80; i++) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
      }
      throw new Error(`80 times Tab did not lead to ${selector}`);
    };
    await page.getByRole("button", { name: "Generate" }).and(page.locator(":enabled")).waitFor();
    await tabTo("#prompt");
    await page.keyboard.type("hello");
    await page.keyboard.press("Control+Enter");
    await answered(page);
    await tabTo(".answer [role=option]");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator('[data-token="1"]').getAttribute("aria-selected"), SOON).toBe("true");
    await tabTo(".map-box");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await expect.poll(told, SOON).toMatch(/ at model\.layers\.0\S*: (red|blue) /);
    const width = () => page.locator(".map-box > div").evaluate((box) => box.clientWidth);
    const narrow = await width();
    await page.keyboard.press("+");
    await expect.poll(width, SOON).toBeGreaterThan(narrow);
  });

  test("9: nothing moves by itself where a person wants less motion", async () => {
    page = await opened(shared());
    await page.getByRole("button", { name: "Generate" }).waitFor();
    await page.evaluate(() => {
      const cursor = document.createElement("span"); // as at the end of an answer that still comes
      cursor.className = "cursor";
      cursor.style.transition = "opacity 1s"; // as of an element that a view may add
      document.querySelector("main")!.append(cursor);
    });
    const moving = () =>
      page.evaluate(() => {
        const styles = [...document.querySelectorAll("*")].map((element) => getComputedStyle(element));
        return {
          animated: styles.filter(({ animationName }) => animationName !== "none").length,
          changing: styles.filter(({ transitionDuration }) => /[1-9]/.test(transitionDuration)).length,
        };
      });
    expect(await moving()).toEqual({ animated: 1, changing: 1 });
    await page.emulateMedia({ reducedMotion: "reduce" });
    expect(await moving()).toEqual({ animated: 0, changing: 0 });
  });

  test("9: keys, landmarks, phone width, dark, and less motion", async () => {
    await withAnswer();
    await marks().first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator('[data-token="1"]').getAttribute("aria-selected"), SOON).toBe("true");
    await page.locator("#prompt").focus();
    await page.keyboard.press("Control+Enter");
    await answered(page);
    for (const role of ["banner", "navigation", "main", "contentinfo"] as const) expect(await page.getByRole(role).count()).toBe(1);
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    const overflow = () => page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    for (const name of ["Compare", "Pool", "Results", "Share", "Play"]) {
      await page.getByRole("button", { name, exact: true }).click();
      expect([name, await overflow()]).toEqual([name, 0]);
    }
    expect(await violations(page)).toEqual([]);
  });
}

const [LABEL, HEAD] = [104, 92]; // pixels beside and above the map's cells

/** A made-up answer. The main expert of a cell is red where token and module are both even or both odd, else blue. */
function wideSession(tokens: number, modules: number): Session {
  const main = (token: number, module: number) => (token + module) % 2;
  const routes = (token: number) => ({
    experts: Array.from({ length: modules }, (_, m) => [main(token, m), 1 - main(token, m)]),
    weights: Array.from({ length: modules }, () => [0.75, 0.25]),
  });
  const run = {
    ...{ prompt: "wide", settings: STANDARD, experts: ["red", "blue"], status: "done" as const, reason: "length" as const },
    modules: Array.from({ length: modules }, (_, m) => `model.layers.${Math.floor(m / 4)}.m${m % 4}`),
    tokens: Array.from({ length: tokens }, (_, t) => ({ id: t, text: `t${t}`, logprob: -1, top: [], isForced: false, ...routes(t) })),
    ...{ promptModules: [], promptRoutes: [], promptTokens: 1 },
  };
  return { skein: 1, prompt: "wide", settings: STANDARD, methods: [], compared: [], run };
}
