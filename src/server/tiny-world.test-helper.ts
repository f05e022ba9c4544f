/** @file A tiny world to serve: the golden Llama with a tokenizer of characters and a chat template, two LoRAs with gates, and a pool. */

import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { golden } from "../../tests/golden.ts";
import { seededRandom } from "../base/random.ts";
import { float32 } from "../base/tensor.ts";
import { openBase } from "../inference/base.ts";
import { saveGates } from "../storage/expert.ts";
import { writeMoa } from "../storage/moa.ts";
import { loadAdapter } from "../storage/peft.ts";
import { addExpert, createPool } from "../storage/pool.ts";
import { bytesAsCharacters } from "../text/engine/byte-characters.ts";

const SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<unk>"];
const ADDED = ["<tool_call>", "</tool_call>"];

export const TEMPLATE = `{% if tools %}<|im_start|>system
Tools: {{ tools | tojson }} <tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>
{{ c | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/** Tokens; a character is one. */
export const CONTEXT = 1024;

export interface TinyWorld {
  readonly base: string;
  readonly pool: string;
  /** Folders of experts: red and blue, which are in the pool, and green, which is not. */
  readonly experts: string;
}

export async function tinyWorld(folder: string, { chatTemplate = TEMPLATE }: { chatTemplate?: string | null } = {}): Promise<TinyWorld> {
  const [base, pool, experts] = ["base", "pool", "experts"].map((name) => join(folder, name)) as [string, string, string];
  await cp(golden("llama/model"), base, { recursive: true });
  const config = JSON.parse(await readFile(join(base, "config.json"), "utf8"));
  await writeFile(join(base, "config.json"), JSON.stringify({ ...config, max_position_embeddings: CONTEXT }));
  await writeTokenizer(base, chatTemplate);
  const opened = await openBase(base);
  const fingerprint = await opened.fingerprint();
  await createPool(pool, { name: base, fingerprint });
  for (const [i, name] of ["red", "blue", "green"].entries()) {
    const expert = join(experts, name);
    await mkdir(experts, { recursive: true });
    await cp(golden(i === 0 ? "llama/adapter_init" : "llama/adapter_step5"), expert, { recursive: true });
    const { modules } = await loadAdapter(expert, opened.modules);
    const random = seededRandom(i + 1);
    const gates = [...modules.keys()].map((module) => {
      const width = opened.modules.get(module)!.in;
      return [module, float32([width], Float32Array.from({ length: width }, random.normal))] as const;
    });
    await saveGates(expert, new Map(gates));
    if (name !== "green") await addExpert(pool, expert);
  }
  return { base, pool, experts };
}

/** Makes the world's pool a Mixture-of-LoRAs model, with random routers before both layers. */
export async function withMoaRouters({ base, pool }: Pick<TinyWorld, "base" | "pool">): Promise<void> {
  const { architecture } = await openBase(base);
  const random = seededRandom(4);
  const size = architecture.hiddenSize;
  const router = () => ({ weight: float32([2, size], Float32Array.from({ length: 2 * size }, random.normal)), bias: float32([2], [0, 0]) });
  const routers = new Map(["model.layers.0", "model.layers.1"].map((layer) => [layer, router()]));
  await writeMoa(pool, { domains: ["red", "blue"], routers, pooling: "mean", states: "base", training: {} });
}

/** One token for each byte of ASCII's printable characters, the line end, and those of a few longer characters. */
async function writeTokenizer(directory: string, chatTemplate: string | null): Promise<void> {
  const text = `${Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join("")}\né€😀`;
  const characters = [...new Set(bytesAsCharacters(text))];
  const names = [...SPECIAL, ...ADDED];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const tokenizer = {
    version: "1.0",
    added_tokens: names.map((content, id) => ({ id, content, special: SPECIAL.includes(content), ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries([...names, ...characters].map((token, id) => [token, id])),
      merges: [],
    },
  };
  const config = {
    bos_token: "<s>",
    eos_token: "</s>",
    pad_token: "<pad>",
    unk_token: "<unk>",
    ...(chatTemplate !== null && { chat_template: chatTemplate }),
  };
  await writeFile(join(directory, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(directory, "tokenizer_config.json"), JSON.stringify(config));
}
