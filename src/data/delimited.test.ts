import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataError } from "../base/errors.ts";
import { parseDelimited } from "./delimited.ts";

const rows = (text: string, delimiter = ",") => parseDelimited(text, delimiter, "x.csv");
const values = (text: string, delimiter = ",") => rows(text, delimiter).map(({ value }) => value);

describe("CSV and TSV", () => {
  test("keep quotes, delimiters and line ends inside quoted fields", () => {
    expect(values('a,b\r\n"x, ""y""",2\r\n"line\r\nend",\r\n')).toEqual([
      { a: 'x, "y"', b: "2" },
      { a: "line\r\nend", b: "" },
    ]);
    expect(values('a\tb\n"1\t2"\t""\n', "\t")).toEqual([{ a: "1\t2", b: "" }]);
  });

  test("say on which line each row begins, whatever ends the lines", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      const text = ["a,b", '"one', 'two",1', "", "", "x,2", "y,3"].join(end);
      expect(rows(text).map(({ where }) => where)).toEqual(["x.csv, line 2", "x.csv, line 6", "x.csv, line 7"]);
    }
  });

  test("take a quote inside a bare field, and spaces anywhere, as they are", () => {
    expect(values('size,said\n5" pipe, he said "hi"\n')).toEqual([{ size: '5" pipe', said: ' he said "hi"' }]);
    expect(values('a,b\n"""x""y",""""\n')).toEqual([{ a: '"x"y', b: '"' }]);
  });

  test("read what was written", () => {
    const field = fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", " ", "a", "é", "😀") });
    const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field), { minLength: 1 }), (written) => {
        const text = ["a,b", ...written.map((fields) => fields.map(quoted).join(","))].join("\n");
        expect(values(text)).toEqual(written.map(([a, b]) => ({ a, b })));
      }),
    );
  });

  const refused: [string, string, RegExp, string][] = [
    ["a character behind a closing quote", 'a,b\n1,"x"y\n', /"y" stands behind/, "x.csv, line 2, column 6"],
    ["a space behind a closing quote", 'a,b\n1,2\n"x" ,2\n', /" " stands behind/, "x.csv, line 3, column 4"],
    ["a quote that is not doubled", 'a\n"she said "no" twice"\n', /"n" stands behind/, "x.csv, line 2, column 12"],
    ["one that only looks doubled", 'a\n"""x"y"\n', /"y" stands behind/, "x.csv, line 2, column 6"],
    ["one behind line ends and wide characters", 'a,b\n"é\n😀"x,1\n', /"x" stands behind/, "x.csv, line 3, column 3"],
    ["a quote that is never closed", 'a,b\n1,2\n3,"x\n4,5\n', /not closed/, "x.csv, line 3, column 3"],
    ["one at the start of a line", 'a,b\n\n"x,1\n', /not closed/, "x.csv, line 3, column 1"],
    ["one at the start of the file", '"x,1\n', /not closed/, "x.csv, line 1, column 1"],
    ["a row with a field too many", 'a,b\n1,2\n\n"3\n",4,5\n', /Expected 2 fields as in the header, got 3/, "x.csv, line 4"],
    ["two columns of one name", "a,b,a\n1,2,3\n", /Two columns are named "a"/, "x.csv, line 1"],
  ];
  test.each(refused)("refuse %s, with its place", (_, text, what, where) => {
    let error: unknown;
    try {
      rows(text);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({ what: expect.stringMatching(what), where });
  });
});
