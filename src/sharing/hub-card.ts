/** @file Model cards of experts and pools with the hub's keys (huggingface.co/docs/hub/model-cards), the numbers of an evaluation, and a
 *  bar chart as SVG. */

import { stringify } from "yaml";
import type { Scores } from "./scores.ts";

/** What the header of every card states. */
export interface CardFacts {
  readonly name: string;
  /** The base model's id on the hub. */
  readonly base: string;
  /** SPDX id, as the hub has them: "apache-2.0". */
  readonly license: string;
  readonly isSeq2Seq: boolean;
  /** Adapters that Python's PEFT cannot load. */
  readonly isOwnFormat?: boolean;
  /** Ids of data sets on the hub. */
  readonly datasets?: readonly string[];
  readonly scores?: Scores | undefined;
}
export interface ExpertFacts extends CardFacts {
  readonly kind: string;
  readonly gated: boolean;
  /** Text of an earlier card that names its data and steps. */
  readonly notes: readonly string[];
}
export interface PoolFacts extends CardFacts {
  readonly repository: string;
  readonly picture: string;
  readonly experts: readonly { readonly name: string; readonly place: string; readonly gated: boolean; readonly megabytes: number }[];
  readonly hasRouters: boolean;
}

/** The YAML header of a card, as an object. */
export function cardHeader({ name, base, license, isSeq2Seq, isOwnFormat, datasets, scores }: CardFacts, tags: readonly string[]) {
  const task = isSeq2Seq ? "text2text-generation" : "text-generation";
  return {
    base_model: base,
    base_model_relation: "adapter",
    library_name: isOwnFormat ? "skein" : "peft",
    pipeline_tag: task,
    license,
    ...(datasets && datasets.length > 0 && { datasets }),
    tags: [...tags, `base_model:adapter:${base}`, "skein"],
    ...(scores && scores.own.length > 0 && { "model-index": [modelIndex(name, task, scores)] }),
  };
}

function modelIndex(name: string, task: string, { own }: Scores) {
  return {
    name,
    results: own.map(({ task: dataset, metric, value }) => ({
      task: { type: task },
      dataset: { name: dataset, type: dataset },
      metrics: [{ type: metric, value, name: metric }],
    })),
  };
}

const withHeader = (header: object, lines: readonly string[]) => `---\n${stringify(header)}---\n\n${lines.join("\n")}\n`;

/** The card of an expert. */
export function expertCard(facts: ExpertFacts): string {
  const { name, base, kind, gated, notes, scores } = facts;
  const python = ["```python", "from peft import PeftModel", "model = PeftModel.from_pretrained(base, REPOSITORY)", "```"];
  return withHeader(cardHeader(facts, [kind]), [
    `# ${name}`,
    "",
    `An adapter (${kind}) for ${base}.`,
    "",
    ...notes,
    `- Gates: ${gated ? "gate_model.safetensors, one vector per module (PHATGOOSE, arXiv:2402.05859)" : "none"}`,
    `- License: ${facts.license}`,
    ...(facts.isOwnFormat ? [] : ["", ...python]),
    ...scoreTable(scores),
  ]);
}

/** The card of a pool. */
export function poolCard(facts: PoolFacts): string {
  const { name, base, repository, picture, experts, hasRouters, scores } = facts;
  const rows = experts.map(
    (expert) => `| ${expert.name} | ${expert.place} | ${expert.gated ? "yes" : "no"} | ${expert.megabytes.toFixed(1)} |`,
  );
  const local = experts.find(({ place }) => place.startsWith("experts/"));
  return withHeader(cardHeader(facts, ["lora", ...(hasRouters ? ["mixture-of-loras"] : ["phatgoose"])]), [
    `# ${name}`,
    "",
    `A pool of ${experts.length} experts for ${base}. A router chooses among them for every token at every module.`,
    "",
    `![${name}](${picture})`,
    "",
    "```sh",
    `skein generate "..." --base ${base} --pool ${repository}`,
    `skein pull ${repository} ${name}`,
    "```",
    ...(local && !facts.isOwnFormat
      ? [
          "",
          "One expert in Python:",
          "",
          "```python",
          "from peft import PeftModel",
          `model = PeftModel.from_pretrained(base, "${repository}", subfolder="${local.place}")`,
          "```",
        ]
      : []),
    "",
    "| expert | where | gates | MB |",
    "| --- | --- | --- | --- |",
    ...rows,
    ...scoreTable(scores),
  ]);
}

/** Tasks by methods. */
function scoreTable(scores: Scores | undefined): string[] {
  if (!scores || scores.methods.length === 0) return [];
  const { methods, tasks } = scores;
  const rows = tasks.map(
    ({ name, metric, values }) => `| ${name} | ${metric} | ${values.map((value) => value?.toFixed(4) ?? "").join(" | ")} |`,
  );
  return [
    "",
    "## Evaluation",
    "",
    `| task | metric | ${methods.join(" | ")} |`,
    `| --- | --- |${" --- |".repeat(methods.length)}`,
    ...rows,
  ];
}

/** A bar chart of named values. */
export function barsSvg(title: string, bars: readonly { readonly name: string; readonly value: number; readonly label: string }[]): string {
  const [width, row, left, top] = [640, 22, 200, 34];
  const most = Math.max(...bars.map(({ value }) => value), Number.EPSILON);
  const height = top + row * bars.length + 10;
  const lines = bars.map(({ name, value, label }, i) => {
    const [y, length] = [top + row * i, Math.max(1, ((width - left - 80) * value) / most)];
    const hue = Math.round((i * 137.508 + 210) % 360);
    const text = `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${escaped(name.slice(0, 28))}</text>`;
    return `${text}<rect x="${left}" y="${y + 3}" width="${length.toFixed(1)}" height="14" rx="2" fill="hsl(${hue} 60% 50%)"/><text x="${(left + length + 6).toFixed(1)}" y="${y + 14}">${escaped(label)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:14px;font-weight:600;fill:#222}</style><rect width="100%" height="100%" fill="#fff"/>
<text class="title" x="12" y="22">${escaped(title)}</text>
${lines.join("\n")}
</svg>
`;
}

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
