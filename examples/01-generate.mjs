import { loadModel } from "skein";

const model = await loadModel("assets/demo-base"); // a folder, or a Hugging Face id
for await (const event of model.generate("opposite : 1. hot 2. big", { maxNewTokens: 8 })) {
  if (event.kind === "completion") console.log(event.text); // 1. cold 2. small
}
await model.dispose();
