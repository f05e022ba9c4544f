import { describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../tests/temporary-folder.ts";
import { readRows } from "./rows.ts";

const { write } = temporaryFolder();
const values = async (path: string) => (await readRows(path)).map(({ value }) => value);

/** Three rows of BIG-bench's columns in Arrow's layout of lists, SNAPPY: a full list, an empty one, none. The last idx is above 2^53. */
const LISTS = Buffer.from(
  "UEFSMRUGFTwVQFwVBhUAFQYVABUEFQAAAAMHHGwFAAAAZmlyc3QGAAAAc2Vjb25kBQAAAHRoaXJkFQYVSBVKXBUIFQAVBhUAFQYVBAAAAwQD/wAfNAMAAAB5ZXMCAAAAbm8FAQYwZXZlcgUAAABtYXliZRUGFSQVKFwVCBUEFQYVABUGFQQAAAMCAx8ADTACAAAAbm8DAAAAeWVzFQYVGhUeXBUIFQQVBhUAFQYVBAAAAwIDHwAIHAAAAAABAAAAFQYVNBUeXBUGFQAVBhUAFQQVAAAAAwcYAAANAQABMggABCAAFQQZzEgEcm9vdBUKABUMJQIYBmlucHV0cyUAADUCGAd0YXJnZXRzFQIVBkw8AAAANQQYBGxpc3QVAgAVDCUCGAdlbGVtZW50JQAANQIYF211bHRpcGxlX2Nob2ljZV90YXJnZXRzFQIVBkw8AAAANQQYBGxpc3QVAgAVDCUCGAdlbGVtZW50JQAANQIYFm11bHRpcGxlX2Nob2ljZV9zY29yZXMVAhUGTDwAAAA1BBgEbGlzdBUCABUCJQIYB2VsZW1lbnQAFQQlAhgDaWR4ABYGGRwZXCYIHBUMGRUAGRgGaW5wdXRzFQIWBhZmFmomCAAAJnIcFQwZFQAZOAd0YXJnZXRzBGxpc3QHZWxlbWVudBUCFggWchZ0JnIAACbmARwVDBkVABk4F211bHRpcGxlX2Nob2ljZV90YXJnZXRzBGxpc3QHZWxlbWVudBUCFggWThZSJuYBAAAmuAIcFQIZFQAZOBZtdWx0aXBsZV9jaG9pY2Vfc2NvcmVzBGxpc3QHZWxlbWVudBUCFggWRBZIJrgCAAAmgAMcFQQZFQAZGANpZHgVAhYGFl4WSCaAAwAAFsgDFgY2wAMAKAloeXBhcnF1ZXQZXBwAABwAABwAABwAABwAAADZAQAAUEFSMQ==",
  "base64",
);

test("list columns of Parquet are arrays, an absent list is null, a number that does not fit keeps its digits", async () => {
  expect(await values(await write("lists.parquet", LISTS))).toEqual([
    { inputs: "first", targets: ["yes"], multiple_choice_targets: ["no", "yes"], multiple_choice_scores: [0, 1], idx: 0 },
    { inputs: "second", targets: ["no", "never"], multiple_choice_targets: [], multiple_choice_scores: [], idx: 1 },
    { inputs: "third", targets: ["maybe"], multiple_choice_targets: null, multiple_choice_scores: null, idx: "9007199254740993" },
  ]);
});

describe("files called .json", () => {
  test("may hold an array or JSON lines", async () => {
    expect(await values(await write("array.json", '[\n  {"a": 1},\n  {"a": 2}\n]'))).toEqual([{ a: 1 }, { a: 2 }]);
    expect(await values(await write("lines.json", '{"a": {"b": [1]}}\n{"a": 2}\n'))).toEqual([{ a: { b: [1] } }, { a: 2 }]);
  });

  test("that hold one object over several lines are refused for what they are", async () => {
    for (const text of ['{\n  "q1": "yes",\n  "q2": "no"\n}', '{"q1": "yes",\n "q2": {}}', '{"q1": [\n1], "q2": 2}']) {
      const error = await rejection(readRows(await write("object.json", text)));
      expect(error).toMatchObject({ name: "DataError", what: expect.stringMatching(/one JSON object, with the fields q1, q2/) });
    }
    const broken = await write("broken.json", '{\n"q1": yes\n}');
    expect(await rejection(readRows(broken))).toMatchObject({ what: expect.stringMatching(/Not valid JSON/), where: `${broken}, line 1` });
  });
});
