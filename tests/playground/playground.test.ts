/** @file The playground in headless Chromium: one server and one browser for all views. */

import { afterAll, beforeAll, describe } from "vitest";
import { missing, type Playground, playground } from "./browser.ts";
import { testOtherViews } from "./other-views.ts";
import { testPlayView } from "./play-view.ts";

describe.skipIf(missing !== undefined)(missing ?? "the playground", () => {
  let all: Playground;
  beforeAll(async () => {
    all = await playground();
  });
  afterAll(() => all?.close());
  describe("the play view", () => testPlayView(() => all));
  describe("the other views", () => testOtherViews(() => all));
});
