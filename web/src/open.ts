/** @file Sessions into the page: the one that an exported page carries, the one in its address, an imported file. */

import { batch } from "@preact/signals";
import { STANDARD } from "./run.ts";
import { type Link, linkFragment, linkIn, type Session, sessionIn, VERSION } from "./session.ts";
import { compared, fail, leave, methods, prompt, run, said, settings, start, world } from "./store.ts";

export function sessionNow(): Session {
  return {
    skein: VERSION,
    prompt: run.value?.prompt ?? prompt.value,
    settings: run.value?.settings ?? settings.value,
    methods: methods.value,
    compared: compared.value,
    ...(run.value && { run: run.value }),
  };
}

export function show(session: Session): void {
  leave();
  batch(() => {
    prompt.value = session.prompt;
    settings.value = session.settings;
    run.value = session.run;
    methods.value = session.methods.length >= 2 ? session.methods : methods.value;
    compared.value = session.compared;
    said.value = "The session is open.";
  });
}

/** The session in an exported page. */
export function carried(): Session | undefined {
  const text = document.getElementById("carried")?.textContent;
  return text ? sessionIn(text) : undefined;
}

export async function linkNow(): Promise<string> {
  const session = sessionNow();
  const link: Link = {
    v: VERSION,
    p: session.prompt,
    s: session.settings,
    m: session.methods,
    ...(session.run && { a: session.run.tokens.map(({ id }) => id) }),
  };
  const { origin, pathname } = window.location;
  return `${origin === "null" ? "" : origin}${pathname}#${await linkFragment(link)}`;
}

/** The session that the address carries: the server computes its routes again, for the same tokens. */
export async function openLink(): Promise<void> {
  const present = run.value;
  try {
    const link = await linkIn(window.location.hash);
    if (!link || run.value !== present) return; // a file was opened meanwhile
    prompt.value = link.p;
    settings.value = { ...STANDARD, ...link.s };
    if (link.m && link.m.length >= 2) methods.value = link.m;
    if (link.a && link.a.length > 0 && world.value) await start(link.a, link.a.length);
  } catch (error) {
    fail(error);
  }
}

export async function importFile(file: File): Promise<void> {
  try {
    show(sessionIn(await file.text()));
  } catch (error) {
    fail(error);
  }
}
