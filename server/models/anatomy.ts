/** @file A model's tensors as they are stored, and the sizes of its layers, for pictures of it. */
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Core } from "../core.ts";
import { modelFolder } from "./model-registry.ts";

export async function anatomyOf(core: Core, id: string) {
  const checkpoint = await openCheckpoint(await modelFolder(core, id));
  try {
    const arch = checkpoint.architecture;
    const tensors = [];
    for (const { name, shape, layer, role } of weightList(arch)) {
      const { type, sizeBytes } = checkpoint.stored(name);
      tensors.push({
        name,
        layer,
        role: String(role),
        shape: [...shape],
        elements: elementCount(shape),
        type,
        sizeBytes,
      });
    }
    const layers = arch.layers.map((l) => ({
      queryHeads: l.queryHeads,
      kvGroups: l.kvGroups,
      kvSource: l.kvSource,
      headDim: l.headDim,
      headToGroup: [...l.headToGroup],
      neurons: l.neurons,
      window: l.window,
    }));
    return { tensors, layers, hidden: arch.hidden, vocab: arch.vocab, maxPositions: arch.maxPositions };
  } finally {
    await checkpoint.close();
  }
}
