/** @file The stable code of every problem that a person can cause, by the class of its error.
 *
 *  A code names a kind of problem, not a place in the source: its remedy is the same wherever it is thrown. Programs may rely on a
 *  code and on its data fields; texts may change. docs/errors.md lists the codes, and a test compares that list with this table. */

/** The general kind of a problem, which decides what a caller can do. A server maps it to a status.
 *
 *    input        the request, file or option has to be corrected
 *    missing      something that is named does not exist
 *    conflict     two things do not fit together, or something exists already
 *    unsupported  it is valid, but Skein does not support it
 *    stopped      the work was stopped on request
 *    resource     disk, network, memory or a device fails; it may work later or elsewhere */
export type ProblemKind = "input" | "missing" | "conflict" | "unsupported" | "stopped" | "resource";

/** The data fields of errors. Each name has the same type in all errors. */
export interface ErrorFields {
  /** The option's name, as functions spell it. */
  readonly option: string;
  readonly options: readonly string[];
  /** The expected value, and the actual one. */
  readonly expected: string | number;
  readonly got: string | number;
  /** The valid names, or those closest to the wrong one. */
  readonly known: readonly string[];
  readonly module: string;
  readonly tensor: string;
  readonly dtype: string;
  readonly modelType: string;
  /** A folder. */
  readonly folder: string;
  readonly pool: string;
  readonly expert: string;
  readonly domain: string;
  readonly router: string;
  /** The data by which a router scores experts, if it can be trained or gathered: "gates", "activations"; else "". */
  readonly needs: string;
  /** A base model's name or folder. */
  readonly base: string;
  readonly embedder: string;
  /** Of an adapter: "lora", "ia3" or "bottleneck". Of other libraries' files: the library's or the form's name. */
  readonly kind: string;
  /** The name of a model or dataset on the Hub, and its revision. */
  readonly repository: string;
  readonly revision: string;
  readonly dataset: string;
  readonly task: string;
  readonly method: string;
  /** What the HTTP server answered. */
  readonly status: number;
  /** "generation", "training", "evaluation", "judging" or "work". */
  readonly work: string;
  /** Parts done, of how many. */
  readonly done: number;
  readonly total: number;
  /** Whether the same call can resume from there. */
  readonly resumable: boolean;
}

export interface CodeEntry {
  readonly kind: ProblemKind;
  /** The description in docs/errors.md. */
  readonly about: string;
  /** Data fields that every error of this code has. */
  readonly fields: readonly (keyof ErrorFields)[];
}

function code<const F extends readonly (keyof ErrorFields)[]>(kind: ProblemKind, about: string, ...fields: F) {
  return { kind, about, fields } as const;
}

export const SHAPE_CODES = {
  "shape-operands": code("input", "The operands of an operator do not fit together."),
  "shape-size-unknown": code("input", "A graph has no size of this name."),
  "shape-batch": code("input", "The tensors of a batch have a wrong dtype, form or value, or do not agree."),
  "shape-decoder-ids-missing": code("input", "An encoder-decoder model got no `decoder_input_ids`."),
  "shape-routing-bias": code("input", "A routing bias does not fit the batch and the pool."),
  "shape-token-unknown": code("input", "A token id is outside the vocabulary.", "got", "expected"),
  "shape-too-long": code("input", "A sequence is longer than the model's positions.", "got", "expected"),
  "shape-empty": code("input", "A prompt, context or continuation has no tokens."),
} as const;

export const OUTPUT_CODES = {
  "output-failed": code("resource", "A file or folder cannot be written: disk full, no permission, not there."),
  "output-in-the-way": code("conflict", "There is a file in the place of a folder to write, or a folder in the place of a file."),
} as const;

export const HUB_CODES = {
  "hub-bad-token": code("input", "The access token is not a token of the Hub."),
  "hub-not-cached": code("resource", "The repository is not in the cache, and the network is off or fails.", "repository", "revision"),
  "hub-not-found": code("missing", "The Hub has no such repository, revision or file.", "repository", "revision"),
  "hub-forbidden": code("input", "The repository is gated or private.", "repository", "revision"),
  "hub-refused": code("resource", "The Hub refused the request, for instance because there were too many.", "repository", "revision"),
  "hub-no-token": code("input", "An upload to the Hub has no access token.", "repository", "revision"),
  "hub-no-write": code("input", "The access token may not write to the repository.", "repository", "revision"),
  "hub-moved": code("conflict", "Somebody else committed to the repository during an upload.", "repository", "revision"),
  "hub-upload-failed": code("resource", "An upload to the Hub failed for good.", "repository", "revision"),
  "hub-unsafe": code("input", "The Hub lists a file outside of the repository's folder.", "repository", "revision"),
} as const;

export const SHARING_CODES = {
  "share-bad-name": code("input", "The name of a repository on the Hub is not written as org/name."),
  "share-no-license": code("input", "An upload to the Hub does not name its license."),
  "share-local-path": code("input", "A file to upload names a path on this machine.", "folder"),
} as const;

export const CHECKPOINT_CODES = {
  "checkpoint-not-found": code("missing", "The name is neither a folder nor the id of a model on the Hub."),
  "checkpoint-no-config": code("missing", "The folder has no config.json."),
  "checkpoint-is-adapter": code("input", "The folder holds an adapter, where a base model is expected.", "folder"),
  "checkpoint-no-tensors": code("missing", "The folder has no safetensors file of a model."),
  "checkpoint-pickled": code(
    "unsupported",
    "The tensors are pickled and must be converted first, or are in a form that is not supported.",
    "folder",
  ),
  "checkpoint-unreadable": code("resource", "A folder or file cannot be opened."),
  "checkpoint-bad-json": code("input", "A JSON file of the checkpoint is not valid."),
  "checkpoint-shards-disagree": code("input", "The index and the shards do not belong together."),
  "checkpoint-damaged": code("input", "A safetensors file is damaged, or of another format."),
  "checkpoint-truncated": code("input", "A safetensors file ends too early."),
  "checkpoint-dtype": code("unsupported", "A tensor has a dtype that cannot be used here.", "tensor", "dtype"),
  "checkpoint-tensor-missing": code("input", "The checkpoint lacks a tensor that its config.json requires.", "tensor"),
  "checkpoint-tensor-shape": code("input", "A tensor does not have the shape that config.json requires.", "tensor", "expected", "got"),
  "checkpoint-model-type": code("unsupported", "The model type is not supported.", "modelType", "known"),
  "checkpoint-setting": code("unsupported", "A setting in config.json is not supported.", "got", "known"),
  "checkpoint-quantized": code("unsupported", "The weights are quantized in a form that is not supported.", "kind"),
  "checkpoint-empty-tensors": code("input", "Tensors hold no numbers, as ZeRO-3 leaves them.", "tensor"),
  "checkpoint-tensor-unread": code("unsupported", "The checkpoint has a tensor that the architecture does not read.", "tensor"),
  "checkpoint-bad-config": code("input", "A configuration file contradicts itself or lacks a field."),
  "checkpoint-quantized-misfit": code("input", "Quantized weights kept on disk do not fit the model.", "tensor"),
  "checkpoint-not-finite": code("input", "The model computes NaN: it or its adapter is damaged."),
  "torch-damaged": code("input", "A file of PyTorch is damaged, or of another format."),
  "torch-refused": code("unsupported", "A file of PyTorch contains or calls something other than plain tensors."),
  "torch-names": code("unsupported", "The names of a checkpoint's tensors do not match its declared form."),
  "tokenizer-missing": code("missing", "The folder has no tokenizer that can be read."),
  "tokenizer-damaged": code("input", "The tokenizer's files are incomplete or not valid."),
  "template-missing": code("missing", "The model has no chat template."),
  "template-broken": code("input", "The chat template is not valid."),
} as const;

export const ADAPTER_CODES = {
  "adapter-not-found": code("missing", "The folder is missing, or holds no adapter.", "folder"),
  "adapter-several": code("input", "The folder holds several adapters.", "folder", "known"),
  "adapter-incomplete": code("input", "Tensors of the adapter are missing, duplicated or in the wrong place."),
  "adapter-pickled": code("unsupported", "The adapter is a Python pickle and must be converted first.", "folder"),
  "adapter-exists": code("conflict", "This folder already contains an adapter.", "folder"),
  "adapter-unsupported": code("unsupported", "The adapter uses something that is not supported."),
  "adapter-foreign": code("unsupported", "The adapter comes from another library than PEFT.", "kind"),
  "adapter-empty-tensors": code("input", "Tensors of the adapter hold no numbers, as ZeRO-3 leaves them.", "tensor"),
  "adapter-bad-config": code("input", "adapter_config.json is not valid."),
  "adapter-dtype": code("input", "A tensor of the adapter is not a float.", "tensor", "dtype"),
  "adapter-rank": code("input", "A tensor has another rank than the configuration says.", "module", "expected", "got"),
  "adapter-targets": code("input", "target_modules and tensors do not agree."),
  "adapter-other-base": code("conflict", "The adapter or its gates were trained on another base model.", "expected", "got"),
  "adapter-unknown-module": code("conflict", "The base model has no module of this name.", "module", "known"),
  "adapter-ambiguous-module": code("conflict", "A name matches several modules of the base model.", "module", "known"),
  "adapter-shape": code("conflict", "A tensor of the adapter does not fit the base model's module."),
  "adapter-needs-base": code("input", "The base model is needed to decide whether the adapter is usable.", "tensor"),
  "adapter-no-architecture": code("unsupported", "No supported architecture has the adapter's modules.", "known"),
  "adapter-empty": code("input", "The adapter has no modules."),
  "adapter-forms-differ": code("input", "The modules of a bottleneck adapter differ in form."),
  "adapter-on-embeddings": code("unsupported", "The adapter changes embeddings, which no gate or router can read.", "module"),
  "adapter-ranks-differ": code("conflict", "The merge method needs adapters of equal rank.", "module"),
  "adapter-has-bias": code("unsupported", "A LoRA with a bias cannot be used for this.", "module"),
  "adapter-kind": code("unsupported", "An adapter of this kind cannot be used for this.", "kind"),
  "gates-incomplete": code("input", "One of the two gate files is missing."),
  "gates-bad-file": code("input", "A gate file is not valid."),
  "gates-mismatch": code("conflict", "The gates do not fit the adapter or the base model.", "module"),
  "statistics-bad-file": code("input", "The activations or embeddings in an expert's folder do not fit the expert."),
} as const;

export const POOL_CODES = {
  "pool-exists": code("conflict", "This folder already contains a pool.", "pool"),
  "pool-not-found": code("missing", "There is no pool in this folder.", "pool"),
  "pool-bad-file": code("input", "pool.json is not valid.", "pool"),
  "pool-too-large": code("input", "A pool's experts do not fit into the memory.", "expected", "got"),
  "pool-empty": code("input", "The pool has no experts."),
  "pool-other-base": code("conflict", "The pool was made for another base model.", "base", "expected", "got"),
  "pool-bad-name": code("input", "An expert cannot have this name.", "got"),
  "pool-expert-last": code("input", "The only expert cannot be removed from a pool in memory.", "expert"),
  "pool-expert-exists": code("conflict", "The pool already has an expert of this name.", "expert"),
  "pool-expert-unknown": code("missing", "The pool has no expert of this name or number.", "expert", "known"),
  "pool-expert-missing": code("missing", "The files of an expert are gone.", "pool", "expert"),
  "pool-expert-changed": code("conflict", "The files of an expert changed since it was added.", "pool", "expert"),
  "pool-expert-remote": code("missing", "An expert is on the Hub and has not been downloaded.", "expert", "repository", "revision"),
  "pool-expert-outside": code("input", "An expert that is added by reference is outside the pool's folder.", "pool"),
  "pool-leftover": code("conflict", "A folder of this name is in the pool, and pool.json does not list it.", "folder"),
  "pool-expert-unscored": code("input", "An expert lacks the data by which the router scores experts.", "expert", "router", "needs"),
  "pool-embeddings": code("input", "An expert has no examples embedded by this embedder.", "expert", "embedder"),
  "pool-embeddings-differ": code("conflict", "The embeddings of the experts have different widths."),
  "pool-kinds-differ": code("conflict", "The experts are adapters of different kinds."),
  "pool-forms-differ": code("conflict", "The experts differ in form at a module.", "module"),
  "pool-ranks-differ": code("conflict", "The method needs experts of equal rank.", "module"),
  "pool-expert-kind": code("unsupported", "The method takes LoRA experts only.", "expert", "kind"),
  "pool-all-general": code("input", "All experts are named as general experts, and none remains to choose from."),
  "pool-nothing-to-combine": code("input", "There are no experts to combine, or no examples."),
  "moa-no-routers": code("missing", "The pool has no Mixture-of-LoRAs routers.", "pool"),
  "moa-bad-file": code("input", "moa.json or routers.safetensors is not valid."),
  "moa-files-disagree": code("conflict", "moa.json, the routers and the base model do not belong together."),
  "moa-domain-unknown": code("missing", "The model has no domain of this name.", "domain", "known"),
  "moa-domain-last": code("input", "The only domain cannot be removed.", "domain"),
  "moa-not-a-domain": code("input", "The expert of this name is not a domain.", "pool", "expert"),
  "moa-expert-is-domain": code("conflict", "An expert that is a domain of the routers cannot be changed alone.", "pool", "domain"),
  "moa-expert-missing": code("conflict", "The pool has no expert for a domain of the routers.", "domain"),
} as const;

export const DATA_CODES = {
  "data-unreadable": code("resource", "A data file cannot be read."),
  "data-not-utf8": code("input", "A text file is not UTF-8."),
  "data-bad-json": code("input", "A JSON file cannot be read, or does not contain rows."),
  "data-bad-csv": code("input", "A CSV or TSV file is not well-formed."),
  "data-unknown-format": code("input", "The format of a file or row is not known."),
  "data-bad-row": code("input", "A row lacks a field, or a field is not valid."),
  "data-bad-tensor": code("input", "A tensor of a batch file is missing or has a wrong dtype or shape."),
  "data-empty": code("input", "There are no rows, examples, prompts or pairs."),
  "data-empty-answer": code("input", "An answer, target or text is empty."),
  "data-unknown-tokens": code("input", "A prompt is of a language or an alphabet that the tokenizer does not know."),
  "samples-alike": code("input", "The texts that an expert writes are nearly all the same.", "done", "total"),
  "data-nothing-to-learn": code("input", "After truncation, no example has a token to learn.", "expected"),
  "data-not-for-encoder-decoder": code("unsupported", "An encoder-decoder model cannot learn from this form of example."),
  "data-template-refuses": code("input", "The chat template refuses this conversation."),
  "data-template-unstable": code("unsupported", "The chat template changes a turn when other turns follow it."),
  "task-not-found": code("missing", "The folder holds no task."),
  "task-bad-file": code("input", "A task file is not valid."),
  "task-unsupported": code("unsupported", "A task needs something that is not supported."),
  "task-bad-template": code("input", "A template of a task is not valid, or fails for a row."),
  "task-bad-choices": code("input", "The choices of an example are missing, or do not contain its answer."),
  "dataset-not-found": code("missing", "This dataset, configuration or split is neither in a folder nor on the Hub.", "dataset"),
  "dataset-files-missing": code("missing", "The data files that a task names do not exist."),
  "dataset-incomplete": code("input", "Parts of a dataset are missing."),
  "dataset-bad-card": code("input", "The dataset's card is not valid."),
  "dataset-bad-revision": code("input", "This is not a valid revision.", "revision"),
  "judge-files-disagree": code("conflict", "Two files contain answers to different requests."),
  "judge-bad-file": code("input", "The file of judgments contains something else."),
  "recipe-invalid": code("input", "A pool's recipe has an unknown field or name, or an invalid value."),
} as const;

export const TRAINING_CODES = {
  "training-diverged": code("input", "The loss is not a number.", "done"),
  "training-state-damaged": code("input", "The saved state of a run cannot be read.", "folder"),
  "training-experts-failed": code("input", "Several of the experts that trained at once failed.", "known"),
  "farm-failed": code("input", "Some experts of a recipe could not be made.", "known"),
  "farm-running": code("conflict", "Another process is making this pool.", "folder"),
  "job-died": code("resource", "The process of a job ended before the job was done."),
  "job-cancelled": code("stopped", "The job was cancelled on the queue.", "known"),
  "queue-unreachable": code("resource", "The queue's server cannot be reached."),
  "queue-refused": code("input", "The queue's server refuses the user, the password or the database."),
  "store-unreachable": code("resource", "The store of a farm cannot be reached."),
  "store-refused": code("input", "The store of a farm refuses the credentials, or there is no such folder or bucket."),
  "store-full": code("resource", "The store of a farm has no space left."),
  "store-damaged": code("resource", "What the store of a farm holds is incomplete or has another hash than its name says."),
  "worker-version": code("conflict", "A worker has another version of Skein than the farm.", "expected", "got"),
  "worker-base-differs": code("conflict", "The base model on a worker's machine is another one than the farm's.", "base"),
  "worker-store-differs": code("conflict", "A worker has another store than the farm."),
  "worker-clock": code("resource", "The clock of this machine differs too much from the queue's server.", "got"),
  "package-missing": code("resource", "An optional package is not installed.", "known"),
} as const;

export const STOPPED_CODES = {
  stopped: code("stopped", "The work was stopped on request before it was done.", "work", "resumable"),
} as const;

export const ENGINE_CODES = {
  "engine-not-loadable": code("resource", "ONNX Runtime cannot be loaded on this machine."),
  "engine-no-device": code("resource", "The engine found no device that it can use."),
  "engine-out-of-memory": code("resource", "The device has too little memory, or a tensor is larger than it allows."),
  "engine-device-lost": code("resource", "The device stopped working during a run."),
} as const;

export const OPTION_CODES = {
  "option-invalid": code("input", "Options are unknown, missing or of a wrong type."),
  "option-unknown-value": code("input", "The value of an option is not one of the allowed values.", "option", "got", "known"),
  "option-out-of-range": code("input", "A number is out of its range.", "option", "expected", "got"),
  "option-conflict": code("input", "Two or more options contradict each other.", "options"),
  "option-needs-pool": code("input", "An option, method or call needs a pool of experts.", "options"),
  "option-not-for-router": code("input", "The router does not have this option.", "options", "router"),
  "option-disposed": code("input", "The model was disposed before it was used."),
  "option-not-for-model": code("input", "The option is not for this kind of model or adapter.", "option"),
  "option-count": code("input", "The number of values is wrong.", "option", "expected", "got"),
  "option-duplicate": code("input", "Two things have the same name.", "option", "got"),
  "option-empty": code("input", "There is nothing to work on.", "option"),
  "option-bad-assignment": code("input", "A name and its file are not written as name=file.", "option", "got"),
  "option-unknown-module": code("input", "The targets match no module of the base model.", "known"),
  "task-needs-shots": code("input", "The method learns from labeled examples, and the task has none.", "task", "method"),
  "run-differs": code("conflict", "The run folder was begun with other options.", "folder"),
  "run-bad-config": code("input", "The run folder's configuration cannot be read.", "folder"),
  "endpoint-unreachable": code("resource", "The endpoint cannot be reached."),
  "endpoint-refused": code("resource", "The endpoint answered with an error.", "status"),
  "endpoint-bad-reply": code("input", "The endpoint's reply is not a chat completion."),
} as const;

/** Every code. */
export const ERROR_CODES = {
  ...SHAPE_CODES,
  ...OUTPUT_CODES,
  ...HUB_CODES,
  ...SHARING_CODES,
  ...CHECKPOINT_CODES,
  ...ADAPTER_CODES,
  ...POOL_CODES,
  ...DATA_CODES,
  ...TRAINING_CODES,
  ...STOPPED_CODES,
  ...ENGINE_CODES,
  ...OPTION_CODES,
} as const satisfies Readonly<Record<string, CodeEntry>>;

/** A kind of problem, stable between versions. docs/errors.md lists all codes with their data. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** The data of an error with this code. */
export type DataOf<C extends ErrorCode> = Pick<ErrorFields, (typeof ERROR_CODES)[C]["fields"][number]> & Partial<ErrorFields>;
