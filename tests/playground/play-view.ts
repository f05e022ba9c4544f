/** @file The playground's first view in headless Chromium: the stream, one token, the map, switches and spans, keys and widths. */

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { answered, generate, missing, opened, type Playground, playground, SOON, tokens, violations } from "./browser.ts";

describe.skipIf(missing !== undefined)(missing ?? "the play view", () => {
  let all: Playground;
  let page: Page;
  beforeAll(async () => {
    all = await playground();
  });
  afterEach(() => page?.close());
  afterAll(() => all?.close());

  /** The page with an answer of at most 12 tokens. */
  async function withAnswer(): Promise<void> {
    page = await opened(all);
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
});
