/** @file Writes recipes/pools/t0-held-in.yaml and flan.yaml from the PHATGOOSE authors' lists of datasets.
 *
 *    node scripts/pool-recipes.mjs phatgoose-pools.json
 *
 *  The JSON holds, in the authors' order, what colm/datasets/*.gin and scripts/concatenate.py of github.com/r-three/phatgoose say of each
 *  expert: dataset, split, templates, micro-batch and limits. */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";

const [path] = process.argv.slice(2);
if (!path) throw new Error("usage: node scripts/pool-recipes.mjs phatgoose-pools.json");
const pools = JSON.parse(readFileSync(path, "utf8"));
const folder = fileURLToPath(new URL("../recipes/pools/", import.meta.url));

/** The folders of Open-Orca/FLAN with the zero-shot templates of each collection, with and without answer options. */
const FOLDERS = {
  Flan2021: ["flan_zsopt_data", "flan_zsnoopt_data"],
  NIV2: ["niv2_zsopt_data"],
  Dialog: ["dialog_zsopt_data"],
};

/** Open-Orca/FLAN has no other split than train: so many of its examples select the best state. */
const HOLDOUT = 500;

const SETTINGS = {
  base: "google/t5-xl-lm-adapt",
  parameters: 2.85e9,
  training: {
    steps: 1000,
    batchSize: 1024,
    rank: 16,
    alpha: 1,
    lr: 0.005,
    schedule: { kind: "constant", warmupRatio: 0.06 },
    clip: 1,
    maxLength: 512,
    validateEvery: 100,
    seed: 42,
  },
  gates: { steps: 100 },
  statistics: { examples: 1000 },
};

function expert({ name, dataset, train, validation }) {
  const [collection, ...rest] = dataset.dataset_path;
  const isFlan = collection === "FLANV2";
  const source = isFlan ? flanSource(rest) : promptedSource(rest, dataset);
  return {
    name,
    ...source,
    ...(train.split !== "train" && { split: train.split }),
    training: { microBatchSize: train.batch_size },
    ...(isFlan ? { holdout: HOLDOUT } : { validation: promptedValidation(dataset, validation) }),
  };
}

function flanSource([collection, ...task]) {
  const name = task.join("/");
  // Natural Instructions' experts are of categories: the groups file says which tasks are in each.
  return collection === "NIV2"
    ? { folders: FOLDERS.NIV2, where: { _task_name: name }, group: name }
    : { folders: FOLDERS[collection], where: { _task_name: name } };
}

function promptedSource([id, config], { ignore_templates: ignore }) {
  const templates = { path: config === undefined ? id : `${id}/${config}` };
  if (ignore) templates.ignore = ignore;
  return { dataset: id, ...(config !== undefined && { config }), templates };
}

function promptedValidation({ ignore_templates: always = [] }, validation) {
  const {
    split,
    include_templates: use,
    ignore_templates: ignore,
    round_robin_template: roundRobin,
    max_pretemplate_examples_per_dataset: rows,
  } = validation;
  const ignored = [...new Set([...always, ...(ignore ?? [])])];
  const templates = {
    // TREC's list is empty: the authors wrote a template of their own for it, which is not published as promptsource's are.
    ...((use === "original" || use.length === 0) && { use: "original" }),
    ...(roundRobin && { roundRobin }),
    ...(ignored.length > always.length && { ignore: ignored }),
  };
  return { split, ...(Object.keys(templates).length > 0 && { templates }), ...(rows !== undefined && { rows }) };
}

function recipe(name, { description, entries, comment, evaluation, extra = {}, defaults }) {
  const experts = entries.map(expert);
  const body = stringify(
    { name, description, ...SETTINGS, ...extra, defaults, experts, evaluation },
    { lineWidth: 140, aliasDuplicateObjects: false },
  );
  writeFileSync(`${folder}${name}.yaml`, `${comment.map((line) => `# ${line}`.trimEnd()).join("\n")}\n${body}`);
  console.log(`${name}: ${experts.length} experts`);
}

const SOURCE = [
  "Muqeeth et al. 2024 (arXiv:2402.05859), as the authors' code has it: github.com/r-three/phatgoose, colm/datasets, scripts/concatenate.py.",
  "Written by scripts/pool-recipes.mjs. docs/guide/farm.md says what differs from the authors' runs.",
];
const PROMPTED = [
  "Datasets: from the data folder, else from the Hub. Templates: <data folder>/promptsource/<path>/templates.yaml of",
  "github.com/bigscience-workshop/promptsource; with `templates: { from: p3 }` in defaults, the prepared text of bigscience/P3 instead.",
];
const LIMIT = 500_000;
recipe("t0-held-in", {
  description: "The 36 experts of T0's held-in datasets",
  entries: pools["t0-held-in"],
  comment: [...SOURCE, ...PROMPTED],
  defaults: { split: "train", limit: LIMIT },
  evaluation: {
    heldOut: ["../benchmarks/t0ho.yaml", "../benchmarks/bbh.yaml", "../benchmarks/bbl.yaml"],
    methods: ["base", "experts", "merged", "best_individual", "oracle", "average-activation", "retrieval", "phatgoose"],
  },
});
recipe("flan", {
  description: "The 166 experts of the FLAN pool",
  entries: pools.flan,
  comment: [
    ...SOURCE,
    ...PROMPTED,
    "FLAN's tasks are rows of Open-Orca/FLAN by `_task_name`; its Parquet files are read by ranges, and never whole.",
    "Natural Instructions' experts are of categories; `groups: <file>` names a file of the tasks in each (scripts/niv2-categories.mjs makes it).",
    "The authors never published their processed FLAN data, and Open-Orca/FLAN has no validation split: `holdout` examples select.",
  ],
  defaults: { split: "train", limit: LIMIT, dataset: "Open-Orca/FLAN" },
  evaluation: {
    heldOut: ["../benchmarks/bbh.yaml", "../benchmarks/bbl.yaml"],
    methods: ["base", "experts", "merged", "best_individual", "oracle", "average-activation", "retrieval", "phatgoose"],
  },
});
