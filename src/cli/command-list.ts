/** @file The commands by name. The modules of a command are loaded when it is called, so that `skein --help` is fast. */

import type { Command } from "commander";
import type { Io } from "./io.ts";

/** Adds a command with its flags to the program. */
export type AddCommand = (program: Command, io: Io, summary: string) => void;

interface ListedCommand {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<AddCommand>;
}

export const COMMANDS: readonly ListedCommand[] = [
  {
    name: "demo",
    summary: "Train experts and gates on a small T5, route every token between them, and compare: a few minutes on two cores.",
    load: async () => (await import("./commands/demo.ts")).addDemo,
  },
  {
    name: "train",
    summary: "Train an expert (LoRA, (IA)3 or bottleneck), or with --full every weight. The same command resumes a run that was stopped.",
    load: async () => (await import("./commands/train.ts")).addTrain,
  },
  {
    name: "gate",
    summary: "Train the PHATGOOSE gates of an expert, or of any adapter, and write them beside it.",
    load: async () => (await import("./commands/train.ts")).addGate,
  },
  {
    name: "statistics",
    summary:
      "Compute the statistics of an expert that the routers average-activation and retrieval need, and write them beside the adapter.",
    load: async () => (await import("./commands/statistics.ts")).addStatistics,
  },
  {
    name: "lorahub",
    summary: "Combine a pool's experts for a new task from a few examples, without gradients.",
    load: async () => (await import("./commands/statistics.ts")).addLorahub,
  },
  {
    name: "moa",
    summary: "Mixture-of-LoRAs: a LoRA for each domain, and routers that recognize the domain of a text.",
    load: async () => (await import("./commands/moa.ts")).addMoa,
  },
  {
    name: "pool",
    summary: "Keep experts over one base model in a folder with a lockfile.",
    load: async () => (await import("./commands/pool.ts")).addPool,
  },
  {
    name: "push",
    summary: "Upload a pool or an expert to the Hugging Face Hub. The same command goes on with an upload that was stopped.",
    load: async () => (await import("./commands/share.ts")).addPush,
  },
  {
    name: "pull",
    summary: "Download a pool or an adapter from the Hub, check every hash, and name its commit.",
    load: async () => (await import("./commands/share.ts")).addPull,
  },
  {
    name: "search",
    summary: "List adapters on the Hub with rank and size, and whether they would load. No weights are downloaded.",
    load: async () => (await import("./commands/share.ts")).addSearch,
  },
  {
    name: "farm",
    summary: "Make a pool by its recipe: every expert, its gates and statistics, the evaluation and the report.",
    load: async () => (await import("./commands/farm.ts")).addFarm,
  },
  {
    name: "methods",
    summary: "List the routing methods with their requirements and options.",
    load: async () => (await import("./commands/methods.ts")).addMethods,
  },
  {
    name: "generate",
    summary: "Continue one prompt, or several in parallel. Text is streamed; with --json it is printed at the end.",
    load: async () => (await import("./commands/generate.ts")).addGenerate,
  },
  {
    name: "chat",
    summary: "Talk to a model with a chat template. /help lists the commands of the conversation.",
    load: async () => (await import("./commands/chat.ts")).addChat,
  },
  {
    name: "serve",
    summary: "Serve the base, its experts and their pool over OpenAI's API. A pool chooses experts for every token.",
    load: async () => (await import("./commands/serve.ts")).addServe,
  },
  {
    name: "eval",
    summary: "Compare the base, its experts, their merge, and routers on tasks, and print one table with standard errors.",
    load: async () => (await import("./commands/eval.ts")).addEval,
  },
  {
    name: "probe",
    summary:
      "Rank a pool's experts for a text: by their share of the routing weight, by the text's loss under each alone, and by retrieval.",
    load: async () => (await import("./commands/probe.ts")).addProbe,
  },
  {
    name: "trace",
    summary: "Continue a prompt and show which expert served which token, at every module: here, as a page, or as JSON.",
    load: async () => (await import("./commands/trace.ts")).addTrace,
  },
  {
    name: "forward",
    summary: "Run one batch through a model and write its logits, for comparison with any other implementation.",
    load: async () => (await import("./commands/forward.ts")).addForward,
  },
  {
    name: "check",
    summary: "Check an adapter or expert folder: list its modules, and what is refused and why.",
    load: async () => (await import("./commands/check.ts")).addCheck,
  },
  {
    name: "merge",
    summary: "Merge adapters of one base model into one adapter.",
    load: async () => (await import("./commands/merge.ts")).addMerge,
  },
  {
    name: "convert",
    summary:
      "Write an adapter, a base model or a pool that PyTorch saved as a pickle (.bin, .pt) as safetensors. Nothing in the pickle is run.",
    load: async () => (await import("./commands/convert.ts")).addConvert,
  },
  {
    name: "cache",
    summary: "List or delete what is computed once and kept on disk: quantized weights, and prototypes of experts.",
    load: async () => (await import("./commands/cache.ts")).addCache,
  },
  {
    name: "doctor",
    summary: "Examine this machine's devices: whether they compute rightly, how fast, and which one --device auto chooses.",
    load: async () => (await import("./commands/doctor.ts")).addDoctor,
  },
  {
    name: "score",
    summary: 'Score a file of {"prediction", "references"} lines with ROUGE, BLEU, chrF, SQuAD or exact match.',
    load: async () => (await import("./commands/score.ts")).addScore,
  },
  {
    name: "judge",
    summary: "Let a model judge which of two answers is better. Each pair is judged in both orders; a disagreement is a tie.",
    load: async () => (await import("./commands/judge.ts")).addJudge,
  },
];

/** Adds the command that `argv` calls with all its flags, and the others only by name. */
export async function addCommands(program: Command, argv: readonly string[], io: Io): Promise<void> {
  const called = argv.find((word) => !word.startsWith("-"));
  for (const { name, summary, load } of COMMANDS) {
    if (name === called) (await load())(program, io, summary);
    else program.command(name).description(summary);
  }
}
