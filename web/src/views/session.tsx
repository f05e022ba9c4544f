/** @file The session as a link or a file, and files back in. */

import { signal } from "@preact/signals";
import { download, fileName, sessionCsv, sessionJson, sessionPage } from "../export.ts";
import { importFile, linkNow, sessionNow } from "../open.ts";
import { fail, run, said, view } from "../store.ts";

const link = signal<string | undefined>(undefined);

export function SessionView() {
  const hasRun = run.value !== undefined && run.value.status !== "running";
  const act = (work: () => Promise<void> | void) => async () => {
    try {
      await work();
    } catch (error) {
      fail(error);
    }
  };
  const makeLink = act(async () => {
    link.value = await linkNow();
    history.replaceState(null, "", link.value.slice(link.value.indexOf("#")));
    said.value = "The link is in the field and in the address bar.";
  });
  const copy = act(async () => {
    await navigator.clipboard.writeText(link.value ?? "");
    said.value = "The link is copied.";
  });
  const saveJson = act(() => {
    const session = sessionNow();
    download(fileName(session, "json"), "application/json", sessionJson(session));
  });
  const saveCsv = act(() => download(fileName(sessionNow(), "csv"), "text/csv", sessionCsv(run.value!)));
  const savePage = act(async () => {
    const session = sessionNow();
    download(fileName(session, "html"), "text/html", await sessionPage(session));
  });
  const open = act(async () => {
    const [file] = (document.getElementById("import") as HTMLInputElement).files ?? [];
    if (!file) return;
    await importFile(file);
    view.value = "play";
  });
  return (
    <div class="session">
      <section class="panel" aria-label="Link">
        <h2>A link to this session</h2>
        <p class="note">
          It carries prompt, settings and the answer's tokens in its own text; whoever opens it needs a server with the same pool.
        </p>
        <div class="row">
          <button type="button" onClick={makeLink}>
            Make a link
          </button>
          {link.value !== undefined && (
            <>
              <input class="wide" readOnly aria-label="Link" value={link.value} onFocus={(event) => event.currentTarget.select()} />
              <button type="button" onClick={copy}>
                Copy
              </button>
            </>
          )}
        </div>
      </section>
      <section class="panel" aria-label="Files">
        <h2>Files</h2>
        <p class="note">
          The page shows everything without a server. JSON can be read in again. CSV has a line for each token, module and expert.
        </p>
        <div class="row">
          <button type="button" disabled={!hasRun} onClick={savePage}>
            Save as a page
          </button>
          <button type="button" disabled={!hasRun} onClick={saveJson}>
            Save as JSON
          </button>
          <button type="button" disabled={!hasRun} onClick={saveCsv}>
            Save as CSV
          </button>
        </div>
        <p>
          <label>
            Open a saved session (JSON or page){" "}
            <input id="import" type="file" accept=".json,.html,application/json,text/html" onChange={open} />
          </label>
        </p>
      </section>
    </div>
  );
}
