/** @file The files of an expert's folder. PEFT's own come first; Python PEFT loads the folder and ignores the rest. */

export const CONFIG_FILE = "adapter_config.json";
export const TENSOR_FILE = "adapter_model.safetensors";
/** What PEFT wrote before safetensors. */
export const PICKLE_FILE = "adapter_model.bin";

/** A bottleneck adapter, which PEFT does not know (bottleneck-file.ts). */
export const BOTTLENECK_CONFIG_FILE = "skein_adapter_config.json";
export const BOTTLENECK_FILE = "skein_adapter_model.safetensors";

/** The gates that PHATGOOSE trains (gate-file.ts). */
export const GATE_CONFIG_FILE = "gate_config.json";
export const GATE_FILE = "gate_model.safetensors";

/** What two other routers need (side-files.ts), when it has been gathered. */
export const ACTIVATION_FILE = "average_activation.safetensors";
export const EMBEDDING_FILE = "retrieval_embeddings.safetensors";

/** The tokens that end a turn, for an expert that learned chats (storage/turn-end.ts). */
export const TURN_END_FILE = "turn_end.json";
