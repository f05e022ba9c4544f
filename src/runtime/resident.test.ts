/** @file Experts cross to a device once, and of a changed pool only what changed. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ENGINES_HERE, keeping } from "../../tests/engines.ts";
import { golden } from "../../tests/golden.ts";
import type { HostTensor } from "../base/tensor.ts";
import { randomExperts } from "../generation/woven.test-helper.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import { type LoadedModel, loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import type { DeviceFeeds, DeviceTensor, Engine, Feeds } from "./engine.ts";
import { cpu } from "./onnxruntime-node.ts";
import { ResidentFeeds } from "./resident.ts";

const ENGINES = [keeping, ...ENGINES_HERE.filter((engine) => engine !== cpu)];
/** A whole model takes long on a software GPU: there only npm run check:webgpu runs it. */
const OF_MODELS = process.env.SKEIN_DEVICE === "webgpu" ? ENGINES : [keeping];

let model: LoadedModel;
beforeAll(async () => {
  model = await loadModel(golden("llama/model"), { engine: cpu });
});
afterAll(() => model.dispose());

/** The engine, with the tensors that were copied to it. */
function counting(engine: Engine) {
  const uploaded: HostTensor[] = [];
  const upload = (tensor: HostTensor) => {
    uploaded.push(tensor);
    return engine.upload(tensor);
  };
  return { uploaded, engine: { ...engine, upload } };
}

async function expectCopies(copies: DeviceFeeds, feeds: Feeds): Promise<void> {
  expect(Object.keys(copies)).toEqual(Object.keys(feeds));
  for (const [name, tensor] of Object.entries(feeds)) {
    const copy = await (copies[name] as DeviceTensor).read();
    expect([copy.shape, copy.data]).toEqual([tensor.shape, tensor.data]);
  }
}

describe.each(ENGINES)("on $name", (engine) => {
  test("a pool is copied once; one more expert and one less copy no other's numbers", async () => {
    const before = engine.held().tensors;
    const { uploaded, engine: counted } = counting(engine);
    const resident = new ResidentFeeds(counted);
    const experts = randomExperts(model, 4);
    // With an expert added, the stacks have room for more, so that the next one joins in place.
    const pool = new RoutedPool(experts.slice(0, 2), model.base.modules, { router: phatgoose() }).with(experts[2]!);
    const release = resident.hold(pool.feeds);
    await expectCopies(await resident.copies(pool.feeds), pool.feeds);
    const all = Object.keys(pool.feeds).length;
    expect(uploaded).toHaveLength(all);
    await resident.copies(pool.feeds);
    expect(uploaded).toHaveLength(all);

    const more = pool.with(experts[3]!);
    const releaseMore = resident.hold(more.feeds);
    await expectCopies(await resident.copies(more.feeds), more.feeds);
    expect(uploaded).toHaveLength(all);
    release();
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.held().tensors - before).toBe(all);

    const less = more.without(experts[3]!.name);
    const releaseLess = resident.hold(less.feeds);
    await expectCopies(await resident.copies(less.feeds), less.feeds);
    expect(uploaded).toHaveLength(all);
    releaseMore();
    releaseLess();
    await resident.dispose();
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.held().tensors).toBe(before);
  });
});

describe.each(OF_MODELS)("on $name", (engine) => {
  test("a model holds its copies until it is disposed, and each run of another frees its own", async () => {
    const before = engine.held().tensors;
    await using base = await loadModel(golden("llama/model"), { engine });
    const pool = new RoutedPool(randomExperts(base, 3), base.base.modules, { router: phatgoose() });
    const batch = { inputIds: { dtype: "int64", shape: [1, 3], data: BigInt64Array.of(5n, 6n, 7n) } } as const;
    const all = Object.keys(pool.feeds).length;
    const held = base.withWoven(pool);
    const { logits } = await held.forward(batch);
    expect(engine.held().tensors - before).toBe(all);
    await held.dispose();
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.held().tensors).toBe(before);
    expect((await base.runner.forward(pool, batch)).logits).toEqual(logits);
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.held().tensors).toBe(before);
  });
});
