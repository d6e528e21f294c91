/**
 * @file The metadata of a GGUF file: keys such as `llama.block_count` or `tokenizer.ggml.tokens`, each with one value.
 *
 * Integers of 64 bits are numbers where a number holds them exactly, else bigints. f32 values are the numbers they are
 * (1e-5 reads as 0.000009999999747378752). An array holds values of one type and no arrays.
 */
export type GgufScalar = number | bigint | boolean | string;
export type GgufValue = GgufScalar | readonly GgufScalar[];
export type GgufMetadata = ReadonlyMap<string, GgufValue>;
