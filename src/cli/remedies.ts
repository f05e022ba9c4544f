/** @file Remedies in terms of commands and flags. The library's remedies name functions and their options.
 *  A code whose remedy on the command line is a flag or a command has an entry here. */

import type { DataOf, ErrorCode } from "../base/error-codes.ts";
import type { Problem } from "../base/errors.ts";

/** A remedy in terms of flags; undefined if the library's own remedy applies. */
type Remedies = { readonly [C in ErrorCode]?: (data: DataOf<C>) => string | undefined };

const ANOTHER_RUN = "Name another folder with --run, or delete this one to start again.";

const REMEDIES: Remedies = {
  "checkpoint-is-adapter": () => "This is an adapter: pass its folder as --adapter, and the model it was trained on as the base.",
  "checkpoint-pickled": ({ folder }) => folder && `Convert it, which runs no code of it: skein convert ${folder} OUT --from base.`,
  "pool-too-large": () =>
    "Use fewer experts, or a router that takes one expert for each text (single, retrieval, moa) with --max-resident N.",
  "adapter-on-embeddings": () =>
    "Use it on every token (--adapter), merge it (skein merge, or router merged), or train it again without embeddings.",
  "adapter-needs-base": () => "Pass the base model (--base DIR). If the tensor equals the base's, the adapter is usable.",
  "adapter-no-architecture": ({ known }) =>
    `Supported model types: ${known.join(", ")}. If its base is one of them, check it with --base DIR.`,
  "adapter-kind": ({ option }) => (option === "kind" ? "Omit --kind." : undefined),
  "adapter-pickled": ({ folder }) =>
    `Convert it, which runs no code of it: skein convert ${folder} OUT. Or add it to a pool: skein pool add with --convert.`,
  "share-no-license": () => "Name it with --license, by the Hub's id: apache-2.0, mit, cc-by-4.0, llama3.2, other, ...",
  "share-local-path": () =>
    "Give the base model's id on the Hub with --base, for example google-t5/t5-small, or take the path out of the file.",
  "pool-empty": () => "Add one: skein pool add POOL EXPERT.",
  "pool-expert-exists": ({ domain }) =>
    domain &&
    "Give the domain another name, or remove the old one first: a domain with skein moa remove-domain, others with skein pool remove.",
  "pool-expert-unscored": ({ needs }) => {
    const made = { gates: "Train its gates with skein gate", activations: "Gather its activations with skein statistics" }[needs];
    return made && `${made}. Or use another router, or remove it from the pool.`;
  },
  "pool-embeddings": () => "Embed its examples with skein statistics, or use another router.",
  "moa-no-routers": () => "Make one with: skein moa train.",
  "moa-bad-file": () => "Correct moa.json, or train the routers again: skein moa train.",
  "moa-not-a-domain": ({ pool, expert }) => `To remove the expert: skein pool remove ${pool} ${expert}.`,
  "moa-expert-is-domain": ({ pool, domain }) => `Remove it from both: skein moa remove-domain ${pool} ${domain}.`,
  "moa-expert-missing": () => "Restore the expert. To remove a domain, use skein moa remove-domain.",
  "gates-mismatch": () => "Train the gates for this adapter (skein gate), or copy those that belong to it.",
  "pool-not-found": () => "Make one with: skein pool create.",
  "pool-expert-missing": () => "Restore its folder, or remove it with: skein pool remove.",
  "samples-alike": () =>
    "Give prompts of its own task (--prompts), sample at a higher temperature (--sample-temperature), ask for fewer samples, or use examples (--data).",
  "data-nothing-to-learn": () => "Allow longer examples (--max-length), or shorten the prompts.",
  "dataset-not-found": ({ option }) =>
    option && "Correct the configuration or split. Or get the data in another way, and name its folder with --data.",
  "dataset-files-missing": ({ option }) =>
    option && "Set data_files in dataset_kwargs, by split. The paths start from the YAML file's folder or from the folder of --data.",
  "judge-bad-file": () => "Name another --out file. This one was not written by skein judge.",
  "training-diverged": () =>
    "Try a lower learning rate (--lr) or a longer warm-up (--warmup-ratio) in another run folder (--run), or look for broken " +
    "examples in the data. This run's folder contains the last good state and the metrics so far (metrics.jsonl).",
  "training-state-damaged": () => ANOTHER_RUN,
  stopped: ({ work, resumable }) => {
    if (resumable) return "Run the same command again to continue from here.";
    if (work === "training") return "Name a run folder with --run to be able to continue later.";
    if (work === "evaluation") return "Name a folder with --cache to be able to continue later.";
    return "Run the same command again. It starts from the beginning.";
  },
  "option-invalid": ({ option }) =>
    option === "router" ? undefined : "Run the command with --help to see the options and their defaults.",
  "option-needs-pool": () => "Pass a pool with experts: --pool DIR.",
  "option-not-for-router": () => "Omit it, or use another router (skein methods lists them with their options).",
  "option-conflict": ({ options = [] }) =>
    options.join() === "adapter,pool" ? "Pass --adapter or --pool, or add the adapter to the pool (skein pool add)." : undefined,
  "option-not-for-model": ({ option }) =>
    option === "targets" ? "Omit them, or train with --kind lora (skein train)." : `Omit ${flagOf(option)}.`,
  "task-needs-shots": ({ method }) => `Give the task a few labeled examples (skein eval --shots 5), or omit ${method}.`,
  "run-differs": () =>
    "To resume the run, repeat the options it was started with. Or name another folder with --run, or delete this one to start again.",
  "run-bad-config": () => ANOTHER_RUN,
  "endpoint-unreachable": () => "Check --endpoint and the network, then run the same command again. It keeps the finished judgments.",
  "endpoint-refused": ({ status }) => {
    if (status === 401 || status === 403)
      return "Put a valid key into the environment variable that --api-key-env names (default: OPENAI_API_KEY).";
    if (status === 404) return "Check --endpoint (up to /v1) and --model.";
    return "Read the server's message, then run the same command again. It keeps the finished judgments.";
  },
};

export type ShownProblem = Pick<Problem, "code" | "what" | "where" | "fix" | "data">;

/** The problem in the form that the command line shows. */
export function onCommandLine({ code, what, where, fix, data = {} }: Problem): ShownProblem {
  const remedy = REMEDIES[code] as ((data: Problem["data"]) => string | undefined) | undefined;
  const isOurs = /(?:^|[\s(])--[a-z]|\bskein [a-z]/.test(fix); // a command has thrown it with flags
  return { code, what, where: inFlags(where, data), fix: (isOurs ? undefined : remedy?.(data)) ?? fix, data };
}

/** Replaces option names in `where` by their flags. */
function inFlags(where: string | undefined, { option, options = option === undefined ? [] : [option] }: NonNullable<Problem["data"]>) {
  if (where === undefined || options.length === 0 || where !== options.join(", ")) return where;
  return options.map(flagOf).join(", ");
}

function flagOf(option: string): string {
  return option.startsWith("-") ? option : `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
