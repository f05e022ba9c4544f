import { describe, expect, test } from "vitest";
import golden from "../../../tests/golden/chat/python.json" with { type: "json" };
import { parseExactJson } from "../../base/json.ts";
import { compileTemplate } from "../../evaluation/tasks/jinja.ts";
import { dateText, parseDate, strftime } from "./strftime.ts";
import { mentions, renderTemplate } from "./template.ts";

const render = (source: string, variables: Record<string, unknown> = {}) => renderTemplate(source, variables, () => new Date());

describe("templates give Python's text (tests/golden/chat/python.py)", () => {
  test.each(golden.chat)("of chats: $template of $value", ({ template, value, text }) => {
    expect(render(template, { x: parseExactJson(value) }).text).toBe(text);
  });
  test.each(golden.html)("of lm-evaluation-harness: $template of $value", ({ template, value, text }) => {
    expect(compileTemplate(template, { where: "t" })({ x: parseExactJson(value) }, "row")).toBe(text);
  });
});

test("strftime gives Python's text in the C locale", () => {
  for (const { date, format, text } of golden.strftime) expect(strftime(parseDate(date)!, format), `${format} of ${date}`).toBe(text);
});

test("a date as text is read back, and what is no date is not", () => {
  for (const { date } of golden.strftime) expect(dateText(parseDate(date)!)).toBe(date);
  expect(dateText(parseDate("2026-03-01")!)).toBe("2026-03-01T00:00:00");
  for (const text of ["2026-02-30", "tomorrow", "2026-13-01", "2026-01-01T25:00"]) expect(parseDate(text)).toBeUndefined();
});

test("the date of a template is the one it is given", () => {
  const { text } = renderTemplate("{{ strftime_now('%d %B %Y') }}", {}, () => parseDate("2026-03-01")!);
  expect(text).toBe("01 March 2026");
});

test("the arguments of a call give one prompt, whether a template prints, joins or encodes them", () => {
  const call = { name: "f", arguments: { city: "Rome", id: parseExactJson("9007199254740993") } };
  const json = '{"city": "Rome", "id": 9007199254740993}';
  expect(render("{{ c.arguments }}|{{ 'a' + c.arguments }}|{{ c.arguments | tojson }}|{{ c.arguments ~ '' }}", { c: call }).text).toBe(
    `${json}|a${json}|${json}|${json}`,
  );
});

test("{% generation %} keeps its place, and white space is cut as around any tag", () => {
  const source =
    "{% for m in ms %}\n{% if m.a %}A {%- generation %} {{ m.t }}\n{% endgeneration -%} . {% else %}U{{ m.t }}{% endif %}\n{% endfor %}";
  const { text, generated } = render(source, { ms: [{ t: "x" }, { a: true, t: "y" }, { a: true, t: "z" }] });
  expect(text).toBe("UxA y\n. A z\n. "); // the text of Python's Jinja with transformers' extension
  expect(generated.map(({ start, end }) => text.slice(start, end))).toEqual([" y\n", " z\n"]);
});

test("a name in a comment is not mentioned", () => {
  expect(mentions("{# reads tools #}{{ tools_in }}", "tools")).toBe(false);
  expect(mentions("{{ tools }}", "tools")).toBe(true);
});
