/** @file The choices of the rows of a batch, given by the batch or computed by the method. */

import { ShapeError } from "../base/errors.ts";
import { ROW_BIAS } from "../routing/mixture.ts";
import type { Feeds } from "../runtime/session.ts";
import type { Batch, BatchFeeds } from "./batch.ts";
import { feedsOfRows, type Woven } from "./woven.ts";

/** The feeds for the rows' choices. */
export async function rowFeedsOf(woven: Woven, { routingBias }: Batch, feeds: BatchFeeds): Promise<Feeds> {
  if (!routingBias) {
    return feedsOfRows(woven, (await woven.chooseRows?.({ inputIds: feeds.input_ids, attentionMask: feeds.attention_mask })) ?? {});
  }
  if (!woven.chooseRows) {
    const fix = "Open the pool with choices by row: new RoutedPool(experts, sizes, { router, rows: openRows }).";
    throw new ShapeError({ code: "shape-routing-bias", what: "The batch has a routing bias, but the pool has no choices by row.", fix });
  }
  const expected = [feeds.input_ids.shape[0], woven.experts.length];
  if (String(routingBias.shape) !== String(expected)) {
    throw new ShapeError({
      code: "shape-routing-bias",
      what: `routingBias is [${routingBias.shape}], not [${expected}].`,
      fix: "Pass one number per row and expert.",
    });
  }
  return { [ROW_BIAS]: routingBias };
}
