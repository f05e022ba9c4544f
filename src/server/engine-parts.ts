/** @file What the engine of a server is made of. */

import type { SchedulerLimits } from "../generation/scheduler.ts";
import type { Model } from "../inference/model.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { ServedModels } from "./served-models.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface EngineParts {
  readonly model: Model;
  readonly models: ServedModels;
  readonly tokenizer: Tokenizer;
  readonly vocabulary: Vocabulary;
  readonly contextLength: number;
  readonly limits?: SchedulerLimits;
  /** Called once at the end. */
  readonly dispose?: () => Promise<void>;
}
