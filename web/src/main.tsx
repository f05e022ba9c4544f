/** @file The page begins here: a session that the page or its address carries, then the server. */

import { render } from "preact";
import "virtual:look.css";
import "./styles/page.css";
import "./styles/controls.css";
import "./styles/panels.css";
import "./styles/tokens.css";
import "./styles/tables.css";
import "./styles/charts.css";
import "./styles/narrow.css";
import { App } from "./app.tsx";
import { carried, openLink, show } from "./open.ts";
import { connect, fail, run } from "./store.ts";

render(<App />, document.getElementById("app")!);
try {
  const session = carried();
  if (session) show(session);
  else void connect().then(() => (run.value ? undefined : openLink())); // a file may be open by now
} catch (error) {
  fail(error);
}
window.addEventListener("hashchange", () => void openLink());
