/** @file How a GGUF file or an MLX folder is run, with lines to copy, and what became of its weights. */
import { bytes, count } from "../parts/format.ts";
import type { FileCard } from "./card-lines.ts";

const fidelities: Readonly<Record<FileCard["types"][number]["fidelity"], string>> = {
  kept: "unchanged",
  rounded: "rounded to shorter floats",
  quantized: "quantized to this type",
};

function Commands({ card }: { card: FileCard }) {
  if (card.to === "mlx")
    return (
      <>
        <p className="soft">Unpack the zip; then, on a Mac with mlx-lm:</p>
        <pre className="mono small">{`mlx_lm.generate --model ${card.file} --prompt "Once upon a time"`}</pre>
      </>
    );
  return (
    <>
      <p className="soft">Unpack the zip; then, with llama.cpp:</p>
      <pre className="mono small">{`llama-cli -m ${card.file} -p "Once upon a time"`}</pre>
      <p className="soft">With Ollama:</p>
      <pre className="mono small">{`echo "FROM ./${card.file}" > Modelfile\nollama create my-model -f Modelfile\nollama run my-model`}</pre>
    </>
  );
}

export function RunFile({ card }: { card: FileCard }) {
  return (
    <section className="package-column" aria-labelledby="package-run">
      <h2 id="package-run">How to run it</h2>
      <Commands card={card} />
      <h3>Tensors by type</h3>
      <div className="scrolls">
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
      </div>
      <p className="soft">Speed on a device is neither modelled nor measured for it.</p>
    </section>
  );
}
