/** @file How a GGUF file is run, with lines to copy, and what became of its weights. */
import { bytes, count } from "../parts/format.ts";
import type { GgufCard } from "./card-lines.ts";

const fidelities: Readonly<Record<GgufCard["types"][number]["fidelity"], string>> = {
  kept: "unchanged",
  rounded: "rounded to shorter floats",
  quantized: "quantized to this type",
};

export function RunGguf({ card }: { card: GgufCard }) {
  return (
    <section className="package-column" aria-labelledby="package-run">
      <h2 id="package-run">How to run it</h2>
      <p className="soft">Unpack the zip; then, with llama.cpp:</p>
      <pre className="mono small">{`llama-cli -m ${card.file} -p "Once upon a time"`}</pre>
      <p className="soft">With Ollama:</p>
      <pre className="mono small">{`echo "FROM ./${card.file}" > Modelfile\nollama create my-model -f Modelfile\nollama run my-model`}</pre>
      <h3>Tensors by type</h3>
      <table>
        <tbody>
          {card.types.map((t) => (
            <tr key={`${t.type} ${t.fidelity}`}>
              <td>{t.type}</td>
              <td>{fidelities[t.fidelity]}</td>
              <td className="number">{count(t.tensors)}</td>
              <td className="number">{bytes(t.sizeBytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="soft">Speed on a device is neither modelled nor measured for GGUF files.</p>
    </section>
  );
}
