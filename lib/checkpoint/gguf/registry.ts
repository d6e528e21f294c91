/** @file Every GGUF architecture that is read and written. */
import type { GgufFamily } from "./family.ts";
import { gemma, gemma2 } from "./gemma.ts";
import { gemma3 } from "./gemma3.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { olmo2 } from "./olmo2.ts";
import { qwen2, qwen3 } from "./qwen.ts";

export const ggufFamilies: readonly GgufFamily[] = [llama, granite, olmo2, qwen2, qwen3, gemma, gemma2, gemma3];
