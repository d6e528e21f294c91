/**
 * @file The Modelfile from which Ollama makes a model of a GGUF file.
 *
 * Ollama recognises the common chat templates in the file itself; a model without one gets the plain template, which passes a prompt on
 * as it is. The context is the model's, at most 8192, because Ollama allots memory for all of it.
 *
 * Reference: docs/modelfile.md of ollama/ollama. Not included: system prompts, sampling, licences.
 */

const MOST_CONTEXT = 8192;

export function modelfile(given: { file: string; context: number; hasChatTemplate: boolean }): string {
  return [
    `FROM ./${given.file}`,
    ...(given.hasChatTemplate ? [] : ['TEMPLATE "{{ .Prompt }}"']),
    `PARAMETER num_ctx ${Math.min(given.context, MOST_CONTEXT)}`,
    "",
  ].join("\n");
}
