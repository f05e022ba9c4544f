import { expect, test } from "vitest";
import { routedModules, routeNames } from "./route-names.ts";

test("the modules of a graph's routes are found among its outputs, in their order", () => {
  const modules = ["decoder.block.1.layer.0.experts", "lm_head", "routes.x"];
  const names = modules.flatMap((module) => Object.values(routeNames(module)));
  expect(names[0]).toBe("routes.decoder.block.1.layer.0.experts.experts");
  expect(routedModules(["logits", ...names, "some.experts"])).toEqual(modules);
});
