import { chmod, readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { rejection, temporaryFolder } from "../../../tests/temporary-folder.ts";
import { chatAsk } from "./chat-endpoint.ts";
import { type Judgment, judgePairs, judgeSummary } from "./judge.ts";
import { readJudgePairs } from "./judge-files.ts";

interface Asked {
  readonly authorization: string | undefined;
  readonly model: string;
  readonly message: string;
}
type Reply = { readonly status?: number; readonly headers?: Record<string, string>; readonly content?: string; readonly raw?: string };

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

/** A real server on the loopback interface that answers with `reply`. */
async function judgeServer(reply: (asked: Asked, count: number) => Reply): Promise<{ endpoint: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const body = JSON.parse(await textOf(request));
    const one = { authorization: request.headers.authorization, model: body.model, message: body.messages[0].content };
    asked.push(one);
    const {
      status = 200,
      headers = {},
      content = "",
      raw,
    } = request.url === "/v1/chat/completions" ? reply(one, asked.length) : { status: 404 };
    response.writeHead(status, { "content-type": "application/json", connection: "close", ...headers });
    response.end(raw ?? JSON.stringify({ choices: [{ message: { role: "assistant", content } }] }));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

const pair = (id: string, a: string, b: string) => ({ id, prompt: `say ${id}`, a, b });
const answerAt = (message: string, place: "A" | "B") => new RegExp(`\\[Answer ${place}\\]\\n(.*)\\n`).exec(message)?.[1];
/** Prefers the answer "good" in either place, and otherwise the first. */
const fair = ({ message }: Asked): Reply => {
  if (answerAt(message, "A") === answerAt(message, "B")) return { content: "alike [[C]]" };
  return { content: `because [[${answerAt(message, "B") === "good" ? "B" : "A"}]]` };
};

describe("judging by a model", () => {
  const { folder } = temporaryFolder();
  const file = (name: string) => join(folder, name);

  test("an answer wins only where it wins in both places; a judge that favors a place makes ties", async () => {
    const fairServer = await judgeServer(fair);
    const pairs = [pair("1", "good", "bad"), pair("2", "bad", "good"), pair("3", "same", "same")];
    const ask = chatAsk({ endpoint: fairServer.endpoint, model: "m", apiKey: "secret" });
    const judged = await judgePairs({ pairs, ask, judge: "m", out: file("fair.jsonl") });
    expect(judged.map(({ winner }) => winner)).toEqual(["a", "b", "tie"]);
    expect(fairServer.asked).toHaveLength(6);
    expect(fairServer.asked.every(({ authorization, model }) => authorization === "Bearer secret" && model === "m")).toBe(true);

    const biased = await judgeServer(() => ({ content: "the first [[A]]" }));
    const of = await judgePairs({ pairs, ask: chatAsk({ endpoint: biased.endpoint, model: "m" }), judge: "m", out: file("biased.jsonl") });
    expect(judgeSummary(of)).toMatchObject({ wins: 0, losses: 0, ties: 3, split: 3, unreadable: 0, winRate: 0.5, stderr: 0 });
    expect(biased.asked[0]?.authorization).toBeUndefined();
  });

  test("the win rate counts a tie as half, with the standard error of the mean", () => {
    const of = (winner: Judgment["winner"], ...verdicts: Judgment["verdicts"]): Judgment => ({
      key: "",
      id: "",
      winner,
      verdicts,
      replies: ["", ""],
    });
    const summary = judgeSummary([of("a", "a", "a"), of("a", "a", "a"), of("b", "b", "b"), of("tie", "a", undefined), of("tie", "a", "b")]);
    expect(summary).toMatchObject({ pairs: 5, wins: 2, losses: 1, ties: 2, split: 1, unreadable: 1, winRate: 0.6 });
    expect(summary.stderr).toBeCloseTo(Math.sqrt((0.16 + 0.16 + 0.36 + 0.01 + 0.01) / 4 / 5), 12);
  });

  test("asks nothing where the judgments cannot be kept", async () => {
    const { endpoint, asked } = await judgeServer(fair);
    const ask = chatAsk({ endpoint, model: "m" });
    const pairs = [pair("1", "good", "bad")];
    expect(await rejection(judgePairs({ pairs, ask, judge: "m", out: folder }))).toMatchObject({
      name: "CheckpointError",
      what: expect.stringContaining("a folder where a file"),
    });
    if (process.getuid?.() !== 0) {
      await writeFile(file("kept.jsonl"), "");
      await chmod(file("kept.jsonl"), 0o444);
      const error = await rejection(judgePairs({ pairs, ask, judge: "m", out: file("kept.jsonl") }));
      expect(error).toMatchObject({ name: "CheckpointError", where: file("kept.jsonl") });
    }
    expect(asked).toEqual([]);
  });

  test("what was judged is not asked again, a cut-off line is, and another judge asks anew", async () => {
    const server = await judgeServer(fair);
    const ask = chatAsk({ endpoint: server.endpoint, model: "m" });
    const out = file("resumed.jsonl");
    const pairs = ["1", "2", "3"].map((id) => pair(id, "good", "bad"));
    await judgePairs({ pairs: pairs.slice(0, 2), ask, judge: "m", out, concurrency: 1 });
    await writeFile(out, (await readFile(out, "utf8")).slice(0, -20)); // killed while writing the second
    const judged = await judgePairs({ pairs, ask, judge: "m", out });
    expect(server.asked).toHaveLength(4 + 4);
    expect(judged.map(({ id, winner }) => [id, winner])).toEqual([
      ["1", "a"],
      ["2", "a"],
      ["3", "a"],
    ]);
    expect(
      (await readFile(out, "utf8"))
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).id)
        .sort(),
    ).toEqual(["1", "2", "3"]);
    await judgePairs({ pairs, ask, judge: "other", out });
    expect(server.asked).toHaveLength(8 + 6);
  });

  test("a busy or failing server is asked again, after the time it names", async () => {
    const replies: Reply[] = [{ status: 429, headers: { "retry-after": "3" } }, { status: 503 }, { status: 500 }, { content: "[[A]]" }];
    const server = await judgeServer((_, count) => replies[count - 1] ?? { content: "[[B]]" });
    const waits: number[] = [];
    const ask = chatAsk({ endpoint: `${server.endpoint}/`, model: "m", sleep: async (ms) => void waits.push(ms) });
    expect(await ask("which?")).toBe("[[A]]");
    expect(waits).toEqual([3000, 2000, 4000]);
  });

  test("a server that stays away, refuses the key or answers something else is an error that says so", async () => {
    const down = await judgeServer(() => ({ status: 500, raw: "out of memory" }));
    const sleep = async () => {};
    expect(await rejection(chatAsk({ endpoint: down.endpoint, model: "m", retries: 2, sleep })("?"))).toMatchObject({
      name: "OptionError",
      what: expect.stringContaining("500: out of memory"),
    });
    expect(down.asked).toHaveLength(3);
    const closed = await judgeServer(() => ({ status: 401, raw: "no" }));
    expect(await rejection(chatAsk({ endpoint: closed.endpoint, model: "m", sleep })("?"))).toMatchObject({
      code: "endpoint-refused",
      data: { status: 401 },
    });
    expect(closed.asked).toHaveLength(1);
    const odd = await judgeServer(() => ({ raw: "<html>" }));
    expect(await rejection(chatAsk({ endpoint: odd.endpoint, model: "m", sleep })("?"))).toMatchObject({
      what: expect.stringContaining("<html>"),
    });
    const { endpoint } = await judgeServer(() => ({}));
    await new Promise((resolve) => servers.pop()!.close(resolve));
    const nobody = chatAsk({ endpoint, model: "m", retries: 0 });
    expect(await rejection(nobody("?"))).toMatchObject({
      name: "OptionError",
      what: expect.stringMatching(/cannot be reached.*ECONNREFUSED/),
    });
  });

  test("an interrupt does not wait for a server that asked for patience", async () => {
    const server = await judgeServer(() => ({ status: 429, headers: { "retry-after": "600" } }));
    const pairs = ["1", "2", "3"].map((id) => pair(id, "good", "bad"));
    const control = new AbortController();
    const { signal } = control;
    const judging = rejection(
      judgePairs({ pairs, ask: chatAsk({ endpoint: server.endpoint, model: "m", signal }), judge: "m", out: file("slow.jsonl"), signal }),
    );
    while (server.asked.length < pairs.length) await new Promise((resolve) => setTimeout(resolve, 5));
    control.abort();
    expect(await judging).toMatchObject({ name: "StoppedError", what: "Stopped after 0 of 3 pairs." });
  });
});

describe("files of answers", () => {
  const { write } = temporaryFolder();
  const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join("\n");

  test("are matched by id, or by order, or as samples of an evaluation", async () => {
    const a = await write(
      "a.jsonl",
      lines([
        { id: 1, input: "x", prediction: "ax" },
        { id: 2, input: "y", prediction: "ay" },
      ]),
    );
    const b = await write(
      "b.jsonl",
      lines([
        { id: 2, prompt: "y", output: "by" },
        { id: 1, prompt: "x", output: "bx" },
      ]),
    );
    expect(await readJudgePairs(a, b)).toEqual([
      { id: "1", prompt: "x", a: "ax", b: "bx" },
      { id: "2", prompt: "y", a: "ay", b: "by" },
    ]);
    const sample = (answer: string) => [{ doc_id: 0, arguments: { gen_args_0: { arg_0: "q" } }, filtered_resps: [answer] }];
    const c = await write("c.jsonl", lines(sample("c")));
    const d = await write("d.jsonl", lines(sample("d")));
    expect(await readJudgePairs(c, d)).toEqual([{ id: "0", prompt: "q", a: "c", b: "d" }]);
    const two = ["strict", "loose"].map((filter) => ({ ...sample(filter)[0], filter }));
    expect(await readJudgePairs(await write("two.jsonl", lines(two)), d)).toEqual([{ id: "0", prompt: "q", a: "strict", b: "d" }]);
  });

  test("that answer different requests are refused by file and line", async () => {
    const a = await write("e.jsonl", lines([{ input: "x", prediction: "1" }]));
    const b = await write("f.jsonl", lines([{ input: "z", prediction: "1" }]));
    expect(await rejection(readJudgePairs(a, b))).toMatchObject({ name: "DataError", where: expect.stringContaining("f.jsonl") });
    const c = await write(
      "g.jsonl",
      lines([
        { input: "x", prediction: "1" },
        { input: "y", prediction: "2" },
      ]),
    );
    expect(await rejection(readJudgePairs(a, c))).toMatchObject({ what: expect.stringContaining("1 and 2 answers") });
    const d = await write("h.jsonl", lines([{ input: "x" }]));
    expect(await rejection(readJudgePairs(a, d))).toMatchObject({ what: expect.stringContaining("no answer") });
  });
});
