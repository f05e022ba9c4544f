/** @file What to do about a problem, in terms of commands and flags. The library says it in terms of functions and their options;
 *  where a flag is what a person at the keyboard has, its code has a line here. */

import type { DataOf, ErrorCode } from "../base/error-codes.ts";
import type { Problem } from "../base/errors.ts";

/** A remedy in flags; undefined: the library's own will do. */
type Remedies = { readonly [C in ErrorCode]?: (data: DataOf<C>) => string | undefined };

const ANOTHER_RUN = "Name another folder with --run, or delete this one to start afresh.";

const REMEDIES: Remedies = {
  "checkpoint-is-adapter": () => "This is an adapter: pass its folder as --adapter, and the model it was trained on as the base.",
  "adapter-on-embeddings": () =>
    "Use it on every token (--adapter), merge it (skein merge, or router merged), or train it again without embeddings.",
  "adapter-needs-base": () => "Give the base model (--base DIR); where the tensor equals the base's, the adapter is usable.",
  "adapter-no-architecture": ({ known }) =>
    `Supported model types: ${known.join(", ")}. If its base is one of them, --base DIR tells for certain.`,
  "adapter-kind": ({ option }) => (option === "kind" ? "Leave --kind out." : undefined),
  "adapter-pickled": ({ folder }) =>
    `Convert it, which runs nothing of it: skein convert ${folder} OUT; or add it to a pool: skein pool add with --convert.`,
  "pool-empty": () => "Add one: skein pool add POOL EXPERT.",
  "pool-expert-exists": ({ domain }) =>
    domain &&
    "Give the domain another name, or take the old one out first: a domain with skein moa remove-domain, others with skein pool remove.",
  "pool-expert-unscored": ({ needs }) => {
    const made = { gates: "Train its gates with skein gate", activations: "Gather its activations with skein statistics" }[needs];
    return made && `${made}. Or use another router, or remove it from the pool.`;
  },
  "pool-embeddings": () => "Embed its examples with skein statistics, or use another router.",
  "moa-no-routers": () => "Make one with: skein moa train.",
  "moa-bad-file": () => "Mend moa.json, or train the routers again: skein moa train.",
  "moa-not-a-domain": ({ pool, expert }) => `To take the expert out: skein pool remove ${pool} ${expert}.`,
  "moa-expert-is-domain": ({ pool, domain }) => `Take it out of both: skein moa remove-domain ${pool} ${domain}.`,
  "moa-expert-missing": () => "Restore the expert; to take a domain out, use skein moa remove-domain.",
  "gates-mismatch": () => "Train the gates for this adapter (skein gate), or copy those that belong to it.",
  "pool-not-found": () => "Make one with: skein pool create.",
  "pool-expert-missing": () => "Restore its folder, or take it out with: skein pool remove.",
  "data-nothing-to-learn": () => "Allow longer examples (--max-length), or shorten the prompts.",
  "dataset-not-found": ({ option }) =>
    option && "Correct configuration or split; or get the data by other means, and name their folder with --data.",
  "dataset-files-missing": ({ option }) =>
    option && "Give data_files in dataset_kwargs, by split, as paths from the YAML file's folder or from the one of --data.",
  "judge-bad-file": () => "Name another --out file: this one was not written by skein judge.",
  "training-diverged": () =>
    "Try a lower learning rate (--lr) or a longer warm-up (--warmup-ratio) in another run folder (--run), or look for broken " +
    "examples in the data. This run's folder keeps the last good state and what led here (metrics.jsonl).",
  "training-state-damaged": () => ANOTHER_RUN,
  stopped: ({ work, resumable }) => {
    if (resumable) return "Run the same command again to go on from here.";
    if (work === "training") return "Name a run folder with --run to be able to go on another time.";
    if (work === "evaluation") return "Name a folder with --cache to be able to go on another time.";
    return "Run the same command again; it starts anew.";
  },
  "option-invalid": ({ option }) => (option === "router" ? undefined : "Add --help to the command for the options and their defaults."),
  "option-needs-pool": () => "Give a pool with experts: --pool DIR.",
  "option-not-for-router": () => "Leave it out, or use another router (skein methods lists them with their options).",
  "option-conflict": ({ options = [] }) =>
    options.join() === "adapter,pool" ? "Give --adapter or --pool, or add the adapter to the pool (skein pool add)." : undefined,
  "option-not-for-model": ({ option }) =>
    option === "targets" ? "Leave them out, or train with --kind lora (skein train)." : `Leave ${flagOf(option)} out.`,
  "task-needs-shots": ({ method }) => `Give the task a few labeled examples (skein eval --shots 5), or leave ${method} out.`,
  "run-differs": () => "Repeat what it was begun with to resume it, name another folder with --run, or delete this one to start afresh.",
  "run-bad-config": () => ANOTHER_RUN,
  "endpoint-unreachable": () => "Check --endpoint and the network; what is done is kept, so run the same command again.",
  "endpoint-refused": ({ status }) => {
    if (status === 401 || status === 403)
      return "Put a valid key into the environment variable that --api-key-env names (default: OPENAI_API_KEY).";
    if (status === 404) return "Check --endpoint (up to /v1) and --model.";
    return "See what the server says; what is done is kept, so the same command goes on.";
  },
};

export type ShownProblem = Pick<Problem, "code" | "what" | "where" | "fix" | "data">;

/** The problem as the command line shows it. */
export function onCommandLine({ code, what, where, fix, data = {} }: Problem): ShownProblem {
  const remedy = REMEDIES[code] as ((data: Problem["data"]) => string | undefined) | undefined;
  const isOurs = /(?:^|[\s(])--[a-z]|\bskein [a-z]/.test(fix); // thrown by a command, in flags
  return { code, what, where: inFlags(where, data), fix: (isOurs ? undefined : remedy?.(data)) ?? fix, data };
}

/** A place that names options names their flags instead. */
function inFlags(where: string | undefined, { option, options = option === undefined ? [] : [option] }: NonNullable<Problem["data"]>) {
  if (where === undefined || options.length === 0 || where !== options.join(", ")) return where;
  return options.map(flagOf).join(", ");
}

function flagOf(option: string): string {
  return option.startsWith("-") ? option : `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
