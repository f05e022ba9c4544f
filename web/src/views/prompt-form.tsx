/** @file The prompt, examples, and the button that generates. */

import { isRunning, problem, prompt, settings, start, stop, world } from "../store.ts";

/** `onSubmit`: what the button does; it generates when absent. */
export function PromptForm({
  onSubmit = () => void start(),
  action = "Generate",
}: {
  readonly onSubmit?: () => void;
  readonly action?: string;
}) {
  const { examples = [], chats = false } = world.value ?? {};
  const submit = (event: Event) => {
    event.preventDefault();
    if (prompt.value.trim() === "") problem.value = "The prompt is empty. Type one, or choose an example.";
    else onSubmit();
  };
  return (
    <form class="panel prompt" onSubmit={submit}>
      <label for="prompt">Prompt</label>
      <textarea
        id="prompt"
        rows={4}
        value={prompt.value}
        onInput={(event) => (prompt.value = event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event)}
      />
      <div class="row">
        <button type="submit" class="main" disabled={!world.value}>
          {action}
        </button>
        <button type="button" disabled={!isRunning.value} onClick={stop}>
          Stop
        </button>
        {chats && (
          <label class="check">
            <input
              type="checkbox"
              checked={settings.value.chat}
              onChange={(event) => (settings.value = { ...settings.value, chat: event.currentTarget.checked })}
            />{" "}
            as a chat
          </label>
        )}
        {examples.length > 0 && (
          <select
            aria-label="Examples"
            value=""
            onChange={(event) => {
              const example = examples[Number(event.currentTarget.value)];
              if (example) prompt.value = example.prompt;
              event.currentTarget.value = "";
            }}
          >
            <option value="">Examples…</option>
            {examples.map(({ name, prompt: text }, i) => (
              <option key={name} value={i}>
                {name}: {text.slice(0, 60)}
              </option>
            ))}
          </select>
        )}
      </div>
    </form>
  );
}
