import { expect, test } from "vitest";
import { BOTTLENECK_ACTIVATIONS, BOTTLENECK_PLACEMENTS } from "./adapter.ts";
import { bottleneckForm, parsedBottleneckForm } from "./bottleneck-form.ts";

test("every form is read back as it was written, and nothing else is a form", () => {
  for (const activation of BOTTLENECK_ACTIVATIONS) {
    for (const placement of BOTTLENECK_PLACEMENTS) {
      expect(parsedBottleneckForm(bottleneckForm({ activation, placement }))).toEqual({ activation, placement });
    }
  }
  for (const text of ["", "relu", "relu  parallel", "toString parallel"]) expect(() => parsedBottleneckForm(text), text).toThrow(/no form/);
});
