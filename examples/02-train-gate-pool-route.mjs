// Two experts are trained, gated and pooled; then every token chooses between them.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addExpert, createPool, loadModel, trainExpert, trainGate } from "skein";

const folder = await mkdtemp(join(tmpdir(), "skein-example-"));
const base = "assets/demo-base";
const model = await loadModel(base);
const tokenizer = await model.tokenizer();

// Training data is text; readTrainingExamples("file.jsonl") of "skein/training" reads files.
const pairs = (word, answers) =>
  Object.entries(answers).map(([input, target]) => ({ kind: "pair", input: `give the ${word} of 1. ${input}`, target: `1. ${target}` }));
const data = {
  contrary: pairs("contrary", { hot: "cold", big: "small", fast: "slow", old: "new" }),
  metropolis: pairs("metropolis", { france: "paris", spain: "madrid", italy: "rome", japan: "tokyo" }),
};
await createPool(join(folder, "pool"), { name: "demo-base", fingerprint: await model.base.fingerprint() });
for (const [name, training] of Object.entries(data)) {
  const expert = join(folder, name);
  const options = { batchSize: 4, microBatchSize: 4 };
  await trainExpert({ model, tokenizer, training, base, out: expert, options: { ...options, steps: 40 } }); // a PEFT adapter
  await trainGate({ model, tokenizer, training, expert, options: { ...options, steps: 20 } }); // its gates, beside it
  await addExpert(join(folder, "pool"), expert);
}
await model.dispose();

const routed = await loadModel(base, { pool: join(folder, "pool") }); // PHATGOOSE, top 2 of every token at every module
const answers = [];
for await (const event of routed.generate(["give the contrary of 1. hot", "give the metropolis of 1. japan"], { maxNewTokens: 6 })) {
  if (event.kind === "completion") answers.push(event.text.trim());
}
console.log(answers);
assert.deepEqual(answers, ["1. cold", "1. tokyo"]);
await routed.dispose();
await rm(folder, { recursive: true });
