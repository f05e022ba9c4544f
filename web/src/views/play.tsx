/** @file The first view: prompt, settings, the answer as it comes, the token that is looked into, the map. */

import { isRunning, run, selected } from "../store.ts";
import { Answer } from "./answer.tsx";
import { HeatMap } from "./heat-map.tsx";
import { PromptForm } from "./prompt-form.tsx";
import { SettingsPanel } from "./settings-panel.tsx";
import { TokenPanel } from "./token-panel.tsx";

export function Play() {
  const now = run.value;
  return (
    <div class="play">
      <div class="left">
        <PromptForm />
        <SettingsPanel />
      </div>
      <div class="right">
        {now ? <Answer run={now} /> : <Welcome />}
        {now && selected.value && <TokenPanel run={now} at={selected.value} />}
        {now && now.modules.length > 0 && !isRunning.value && <HeatMap run={now} />}
      </div>
    </div>
  );
}

function Welcome() {
  return (
    <section class="panel welcome">
      <h2>Which expert served which token?</h2>
      <p>
        Type a prompt and generate. Every token of the answer is marked by the expert that served it most: by color, by the style of its
        underline, and by letters.
      </p>
      <p>Then look into a token, let the answer go on with another one, switch experts off, or compare methods.</p>
    </section>
  );
}
