/** @file A session as files: JSON, CSV of every route, and one page that needs no server. */

import { answerText, type Run } from "./run.ts";
import type { Session } from "./session.ts";

export function sessionJson(session: Session): string {
  return `${JSON.stringify(session, null, 1)}\n`;
}

const COLUMNS = ["token", "id", "text", "probability", "module", "expert", "weight"];

/** A line for each token, module and expert that served it there; for answers without routes a line for each token. */
export function sessionCsv({ experts, modules, tokens }: Run): string {
  const lines = tokens.flatMap((token, i) => {
    const own = [i + 1, token.id, token.text, token.logprob === undefined ? "" : Math.exp(token.logprob).toPrecision(4)];
    if (modules.length === 0) return [[...own, "", "", ""]];
    return modules.flatMap((module, m) =>
      (token.experts[m] ?? []).flatMap((expert, j) =>
        token.weights[m]![j]! > 0 ? [[...own, module, experts[expert]!, token.weights[m]![j]!]] : [],
      ),
    );
  });
  return [COLUMNS, ...lines].map((line) => line.map(field).join(",")).join("\r\n");
}

function field(value: string | number): string {
  const text = String(value);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The playground itself, with the session in it: script and style are those of this page. */
export async function sessionPage(session: Session): Promise<string> {
  const [script, style] = await Promise.all([sourceOf("script[src]", "src"), sourceOf("link[rel=stylesheet]", "href")]);
  const data = JSON.stringify(session).replaceAll("<", "\\u003c");
  const title = `${session.prompt.slice(0, 60)} · Skein`.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="content-security-policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>${title}</title><style>${style.replaceAll("</style", "<\\/style")}</style></head>
<body><div id="app"></div><script type="application/json" id="carried">${data}</script>
<script type="module">${script.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--")}</script></body></html>
`;
}

/** What a tag of this page leads to; in an exported page it stands in the page. */
async function sourceOf(selector: string, attribute: string): Promise<string> {
  const address = document.querySelector(selector)?.getAttribute(attribute);
  if (!address) return document.querySelector(selector.startsWith("script") ? "script[type=module]" : "style")?.textContent ?? "";
  return (await fetch(address)).text();
}

export function download(name: string, type: string, content: string): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A file's name from the answer or the prompt. */
export function fileName(session: Session, ending: string): string {
  const words = (session.prompt || (session.run ? answerText(session.run) : "")).toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return `skein-${words.slice(0, 5).join("-") || "session"}.${ending}`;
}
