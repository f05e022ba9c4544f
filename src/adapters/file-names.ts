/** @file The files of an expert's folder. PEFT's own come first; Python PEFT loads the folder and ignores the rest. */

export const CONFIG_FILE = "adapter_config.json";
export const TENSOR_FILE = "adapter_model.safetensors";
/** PEFT's file before it used safetensors. */
export const PICKLE_FILE = "adapter_model.bin";

/** A bottleneck adapter, which PEFT does not know (bottleneck-file.ts). */
export const BOTTLENECK_CONFIG_FILE = "skein_adapter_config.json";
export const BOTTLENECK_FILE = "skein_adapter_model.safetensors";

/** The gates that PHATGOOSE trains (gate-file.ts). */
export const GATE_CONFIG_FILE = "gate_config.json";
export const GATE_FILE = "gate_model.safetensors";

/** Statistics for two other routers (side-files.ts), if they were gathered. */
export const ACTIVATION_FILE = "average_activation.safetensors";
export const EMBEDDING_FILE = "retrieval_embeddings.safetensors";

/** The tokens that end a turn, for an expert that learned chats (storage/turn-end.ts). */
export const TURN_END_FILE = "turn_end.json";
