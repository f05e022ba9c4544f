import { expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { int64 } from "../base/tensor.ts";
import { randomExperts } from "../generation/woven.test-helper.ts";
import { loadModel } from "../library/model.ts";
import { phatgoose } from "../methods/phatgoose.ts";
import { smear } from "../methods/smear.ts";
import { baseRiding, expertRiding } from "./riding.ts";
import { RoutedPool } from "./routed-pool.ts";
import { baseRows, eachRow, namedExperts, openRows, ownRows } from "./row-choices.ts";
import { plain, singleAdapter } from "./woven.ts";

const inputIds = int64([3, 4], [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8]);

test("beside routed rows, the update of a base row is exactly 0, and the weight of a single expert exactly 1", async () => {
  await using model = await loadModel(golden("llama/model"));
  const experts = randomExperts(model, 5);
  const [, expert] = experts;
  const pool = new RoutedPool(experts, model.base.modules, { router: phatgoose(), rows: openRows });
  const rows = eachRow([ownRows, baseRows, namedExperts([expert!.name])]);
  const together = await model.withWoven(pool.withRows(rows)).forward({ inputIds }, { routes: true });
  for (const { experts: chosen, weights } of together.routes!.values()) {
    const ofRow = (row: number) => [...weights.data.subarray(row * 8, (row + 1) * 8)];
    expect(ofRow(0).every((weight) => weight > 0 && weight < 1)).toBe(true);
    expect(ofRow(1)).toEqual(Array(8).fill(0));
    expect(ofRow(2)).toEqual([1, 0, 1, 0, 1, 0, 1, 0]);
    expect([0, 2, 4, 6].map((at) => chosen.data[16 + at])).toEqual([1n, 1n, 1n, 1n]);
  }
  const alone = singleAdapter(expert!.adapter, model.base.modules);
  const [base, single] = [baseRiding(pool), expertRiding(pool, expert!, alone)!];
  expect([base.batch, single.batch]).toEqual([pool.batch, pool.batch]);
  expect([base.alone?.id, single.alone?.id]).toEqual([plain.id, alone.id]);
  const logits = async (woven: typeof base) => (await model.withWoven(woven).forward({ inputIds })).logits.data;
  expect(await logits(base)).toEqual(await logits(plain));
  const [riding, own] = [await logits(single), await logits(alone)];
  for (const [i, value] of own.entries()) expect(Math.abs(value - riding[i]!)).toBeLessThan(1e-4); // sums in another order
});

test("an expert rides only where the pool computes exactly it", async () => {
  await using model = await loadModel(golden("llama/model"));
  const [first, second] = randomExperts(model, 2);
  const alone = singleAdapter(second!.adapter, model.base.modules);
  const opened = (...members: (typeof first)[]) =>
    new RoutedPool(members as [typeof first & object], model.base.modules, { router: phatgoose(), rows: openRows });
  expect(expertRiding(opened(first), second!, alone)).toBeUndefined();
  const [, ...gates] = second!.gates!;
  const ungated = { ...second!, gates: new Map(gates) }; // one module cannot be scored
  expect(expertRiding(opened(first, ungated), ungated, alone)).toBeUndefined();
  const merging = new RoutedPool([first!, second!], model.base.modules, { router: smear(), rows: openRows });
  expect(expertRiding(merging, second!, alone)).toBeUndefined();
});
