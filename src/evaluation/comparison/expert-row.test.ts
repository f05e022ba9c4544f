import { expect, test } from "vitest";
import { expertOfRow, expertRow } from "./expert-row.ts";

test("the row of an expert gives its name back, other rows none", () => {
  for (const name of ["law", "expert", "expert of law"]) expect(expertOfRow(expertRow({ name }))).toBe(name);
  for (const row of ["base", "experts", "phatgoose"]) expect(expertOfRow(row)).toBeUndefined();
});
