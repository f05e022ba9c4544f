import { expect, test } from "vitest";
import { compileTemplate } from "./jinja.ts";

const render = (source: string, fields: Record<string, unknown> = {}) => compileTemplate(source, { where: "t" })(fields, "row 1");

// Expected texts are what Python's jinja2 gives with its default settings and keep_trailing_newline.
test.each([
  ["{{ choices.label.index(key) }}", { choices: { label: ["A", "B"] }, key: "B" }, "1"],
  ["{{ text.split(' ')[:-1] | join(' ') }}", { text: "a b c" }, "a b"],
  ["{{ ' ' + text.split(' ')[-1] }}", { text: "a b c" }, " c"],
  ["{{ p.strip()[:-1] ~ {'cause': ' because'}[q] }}", { p: "It rained. ", q: "cause" }, "It rained because"],
  ["{{ {'0': 'No', '1': 'Yes'}[label] }}", { label: "1" }, "Yes"],
  ["{{ a }} {{ b }} {{ a == none }}", { a: null, b: true }, "None True True"],
  ["{{ text.find('b') }}{{ text.count('b') }}{{ '-'.join(xs) }}", { text: "abb", xs: ["x", "y"] }, "12x-y"],
  ["{% if a %}\n  yes\n{% endif %}\n", { a: 1 }, "\n  yes\n\n"],
  ["{% set n = 2 %}{% for x in xs %}{{ loop.index * n }}{{ x.name }}{% endfor %}", { xs: [{ name: "p" }, { name: "q" }] }, "2p4q"],
  ["{{ a or 'none' }}{{ a and b }}{{ not b }}{{ 'x' in b }}{{ 'z' not in b }}", { a: "", b: "xy" }, "noneFalseTrueTrue"],
  ["{{ missing is defined }}{{ missing | default('d') }}", {}, "Falsed"],
])("%s", (source, fields, expected) => {
  expect(render(source, fields)).toBe(expected);
});

test("a name the row does not have, a wrong template and an unknown filter are errors with the place", () => {
  expect(() => render("{{ a }}{{ b.c }}", { a: 1 })).toThrow(/uses b, which the row does not have[\s\S]*where: t; row 1/);
  expect(() => render("{% if %}")).toThrow(/not valid Jinja/);
  expect(() => render("{{ a | choice }}", { a: [1] })).toThrow(/choice/);
});
