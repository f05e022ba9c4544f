/** @file The playground's first view in headless Chromium: the stream, one token, the map, switches and spans. */

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { answered, generate, missing, opened, type Playground, playground, tokens, violations } from "./browser.ts";

describe.skipIf(missing !== undefined)(missing ?? "the play view", () => {
  let all: Playground;
  let page: Page;
  beforeAll(async () => {
    all = await playground();
  });
  afterEach(() => page?.close());
  afterAll(() => all?.close());

  /** The page with an answer of 12 tokens, which do not end early. */
  async function withAnswer(): Promise<void> {
    page = await opened(all);
    await page.getByLabel("Most tokens").fill("12");
    await page.getByLabel("Most tokens").blur();
    await generate(page, "hello there");
  }

  test("1: the answer streams, marked by expert with letters and names, and says what it cost", async () => {
    await withAnswer();
    const marks = page.locator(".answer [role=option]");
    expect(await marks.count()).toBeGreaterThan(1);
    const first = marks.first();
    expect(await first.getAttribute("aria-label")).toMatch(/: (red|blue), \d+ %/);
    expect(await first.getAttribute("class")).toMatch(/expert k\d p\d/);
    expect(await first.getAttribute("data-letters")).toMatch(/^(re|bl)$/);
    expect(await page.locator(".answer .facts").textContent()).toMatch(
      /11 tokens read · \d+ in the answer · first after \d+ ms.*routing: \d+ expert updates/,
    );
    expect(await page.locator(".answer .legend").textContent()).toMatch(/red \d+ %/);
    expect(await page.locator("[role=status]").textContent()).toMatch(/complete, \d+ tokens/);
    expect(await violations(page)).toEqual([]);
  });

  test("2: a token shows its experts, the losers' scores, entropy and alternatives, and the answer goes on from one of them", async () => {
    await withAnswer();
    const before = await tokens(page);
    await page.locator('[data-token="1"]').click();
    const panel = page.getByRole("region", { name: "The chosen token" });
    await panel.locator(".modules td.number").first().waitFor();
    const served = await panel.locator(".modules").textContent();
    expect(served).toMatch(/(red|blue) \d+(\.\d)? %/);
    await expect.poll(() => panel.locator(".modules td.number").first().textContent()).toMatch(/^[01]\.\d\d$/);
    const choices = panel.locator(".alternatives li");
    expect(await choices.count()).toBe(8);
    expect(await violations(page)).toEqual([]);
    const other = choices.filter({ has: page.getByRole("button") }).first();
    const text = await other.locator("code").textContent();
    await other.getByRole("button").click();
    await answered(page);
    const after = await tokens(page);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBe(text);
    await page.getByRole("button", { name: "Undo" }).click();
    expect(await tokens(page)).toEqual(before);
  });
});
