import { expect, test } from "vitest";
import { temporaryFolder } from "../../tests/temporary-folder.ts";
import { readTrainingExamples } from "./training-data.ts";

const { write } = temporaryFolder();
const written = (...rows: readonly unknown[]) => write("data.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));

test("rows of every spelling become examples, in one file", async () => {
  const messages = [
    { role: "user", content: "q" },
    { role: "assistant", content: "a" },
  ];
  const path = await written(
    { input: "i", target: "t", choices: ["t", "u"], id: 3 },
    { prompt: "p", completion: "c" },
    { prompt: "p", completion: " c<|endoftext|>\n" },
    { messages },
    { instruction: "q", output: "a" },
    { text: "whole" },
  );
  expect(await readTrainingExamples(path)).toEqual([
    { kind: "pair", input: "i", target: "t" },
    { kind: "pair", input: "p", target: "c", joined: true },
    { kind: "pair", input: "p", target: " c", joined: true },
    { kind: "messages", messages },
    { kind: "messages", messages },
    { kind: "text", text: "whole" },
  ]);
});

test("an empty target is an error that names the line", async () => {
  const path = await written({ input: "i", target: "t" }, { input: "i", target: "" });
  await expect(readTrainingExamples(path)).rejects.toMatchObject({ name: "DataError", where: `${path}, line 2` });
  for (const completion of ["", "<|endoftext|>"]) {
    const other = await written({ prompt: "i", completion });
    await expect(readTrainingExamples(other)).rejects.toMatchObject({ name: "DataError", where: `${other}, line 1` });
  }
});
