import { expect, test } from "vitest";
import { colored } from "./expert-colors.ts";
import { traceLines } from "./trace-lines.ts";

const module = (name: string, experts: number[][], weights: number[][]) => ({ module: name, experts, weights });
const trace = {
  prompt: "a\nb",
  completion: "c",
  experts: ["red", "blue", "green"],
  parts: [
    {
      name: "text" as const,
      tokens: ["a", "\nbc"],
      modules: [
        module(
          "model.layers.0.q",
          [
            [0, 1],
            [2, 1],
          ],
          [
            [0.75, 0.25],
            [0.5, 0.5],
          ],
        ),
        module(
          "model.layers.1.q",
          [
            [0, 2],
            [1, 0],
          ],
          [
            [0.5, 0.5],
            [1, 0],
          ],
        ),
      ],
    },
  ],
};

test("each token stands with the expert that serves it most and its mean weight", () => {
  expect(traceLines(trace, { colors: false, columns: 80 })).toBe("text\na    red 0.63\n⏎bc  blue 0.75");
});

test("in colors each module is a block in its first expert's color, a gap between layers", () => {
  const [, heading, first, second] = traceLines(trace, { colors: true, columns: 80 }).split("\n");
  expect(heading).toBe("text");
  expect(first).toBe(`${colored("a  ", 0)}  red 0.63   ${colored("▮", 0)} ${colored("▮", 0)}`);
  expect(second).toBe(`${colored("⏎bc", 1)}  blue 0.75  ${colored("▮", 2)} ${colored("▮", 1)}`);
});

test("in a narrow terminal a block is a layer, in the color of the expert with the most weight there", () => {
  const [part] = trace.parts;
  const modules = [...part!.modules, module("model.layers.1.k", [[1], [2]], [[1], [1]])];
  const own = { ...trace, parts: [{ ...part!, modules }] };
  const [, , wide] = traceLines(own, { colors: true, columns: 21 }).split("\n");
  expect(wide).toContain(`  ${colored("▮", 0)} ${colored("▮", 0)}${colored("▮", 1)}`);
  const [, , narrow] = traceLines(own, { colors: true, columns: 20 }).split("\n");
  expect(narrow).toContain(`  ${colored("▮", 0)}${colored("▮", 1)}`);
});
