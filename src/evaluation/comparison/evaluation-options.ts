/** @file The options of an evaluation, apart from its tasks and methods. */

import * as z from "zod";

export const evaluationOptions = z.strictObject({
  batchSize: z.int().min(1).default(32).meta({ description: "Rows side by side; it changes no result." }),
  maxLength: z.int().min(1).optional().meta({
    description: "Longest sequence in tokens; longer inputs lose their beginning.",
    unset: "what the model was made for, none for T5",
  }),
  cache: z.string().optional().meta({
    description: "Folder in which results are kept and looked for, so that an evaluation that was stopped goes on.",
    value: "dir",
  }),
});
