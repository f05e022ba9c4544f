import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { rejection } from "../../../tests/temporary-folder.ts";
import { readConversations } from "../../data/chat-data.ts";
import { readRows } from "../../data/rows.ts";
import { readBbhTask } from "./bbh.ts";
import { readBigBenchTask } from "./bigbench.ts";
import { completionExamples } from "./p3.ts";

// Published files that are too large, or not licensed, to be committed.
const data = fileURLToPath(new URL("../../../../shared/data", import.meta.url));
const files = (folder: string, ending: string) =>
  existsSync(join(data, folder))
    ? readdirSync(join(data, folder))
        .filter((name) => name.endsWith(ending))
        .map((name) => join(data, folder, name))
    : [];

describe.skipIf(!existsSync(data))("published data (skipped where ../shared/data is absent)", () => {
  const generated = ["dyck_languages", "multistep_arithmetic_two", "object_counting", "word_sorting"];

  test.each(files("bbh", ".json"))("BBH %s", async (path) => {
    const raw: { examples: { target: string }[] } = JSON.parse(readFileSync(path, "utf8"));
    const task = await readBbhTask(path);
    expect(task.examples.length).toBe(raw.examples.length);
    expect(task.examples.map((example) => example.target)).toEqual(raw.examples.map((example) => example.target));
    expect(task.kind).toBe(generated.includes(task.name) ? "generate_until" : "multiple_choice");
    const without = task.examples.filter((example) => example.label === -1);
    expect(without.length).toBe({ movie_recommendation: 1, ruin_names: 2 }[task.name] ?? 0);
    if (task.kind === "multiple_choice") expect(task.examples.every((example) => example.label !== undefined)).toBe(true);
  });

  test("BIG-bench task.json", async () => {
    const task = await readBigBenchTask(join(data, "cot/Bigbench_Date_task.json"));
    expect(task).toMatchObject({ name: "date_understanding", kind: "multiple_choice" });
    expect(task.examples.every((example) => example.label !== undefined)).toBe(true);
  });

  test.each(files("t0-train-per-template", ".jsonl"))("T0 %s", async (path) => {
    const rows = await readRows(path);
    expect(rows.length).toBe(readFileSync(path, "utf8").trimEnd().split("\n").length);
    if (basename(path).startsWith("trec"))
      expect(() => completionExamples(rows)).toThrow(/empty/); // empty upstream
    else expect(completionExamples(rows).length).toBe(rows.length);
  });

  test.each(files("parquet", ".parquet").filter((path) => !path.includes("alltypes")))("Parquet %s", async (path) => {
    expect((await readRows(path)).length).toBeGreaterThan(0);
  });

  test("a Parquet file holds the rows of the CSV file beside it", async () => {
    const stem = join(data, "parquet/cse583__gpt__test-00000-of-00001");
    const text = (rows: Awaited<ReturnType<typeof readRows>>) => rows.map(({ value }) => Object.values(value).map(String).slice(0, 2));
    const [csv, parquet] = [await readRows(`${stem}.csv`), await readRows(`${stem}.parquet`)];
    expect(parquet.length).toBe(csv.length);
    expect(text(parquet).map((row) => row.join("\n").replaceAll("\r", ""))).toEqual(
      text(csv).map((row) => row.join("\n").replaceAll("\r", "")),
    );
  });

  test("chat data in the spellings of LLaMA-Factory and FastChat", async () => {
    for (const name of [
      "llama-factory/alpaca_en_demo.json",
      "llama-factory/glaive_toolcall_en_demo.json",
      "llama-factory/identity.json",
      "chat/fastchat_dummy_conversation.json",
    ]) {
      const conversations = await readConversations(join(data, name));
      expect(conversations.length, name).toBe(JSON.parse(readFileSync(join(data, name), "utf8")).length);
    }
  });

  test("the Financial PhraseBank is not UTF-8", async () => {
    const path = join(data, "finance/financial_phrasebank_all-data.csv");
    expect(await rejection(readRows(path))).toMatchObject({ name: "DataError", what: expect.stringMatching(/not UTF-8/) });
  });
});
