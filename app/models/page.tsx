"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { Suspense, useState } from "react";
import { Link } from "../parts/link.tsx";
import "./models.css";
import "../home/home.css";
import { BringYourOwn } from "../home/bring-your-own.tsx";
import { useTRPC } from "../parts/api.tsx";
import { Chart } from "../parts/chart.tsx";
import { ExportSheet } from "../parts/export-sheet.tsx";
import { bytes, count, fixed } from "../parts/format.ts";
import { ShareButton, TopBar } from "../parts/shell.tsx";
import { ErrorNote, Waiting } from "../parts/states.tsx";
import { useToast } from "../parts/toast.tsx";
import { useAddress } from "../parts/url-state.ts";
import { ArchitecturePicture } from "./architecture.tsx";
import { contextsUpTo, kvCacheBytes } from "./kv-cache.ts";
import { Lineage } from "./lineage.tsx";
import { Treemap } from "./treemap.tsx";

export default function ModelsPage() {
  return (
    <Suspense>
      <Models />
    </Suspense>
  );
}

function Models() {
  const trpc = useTRPC();
  const { get } = useAddress();
  const models = useQuery(trpc.models.list.queryOptions());
  const all = models.data ?? [];
  const id = get("model") ?? all.at(-1)?.id ?? null;
  return (
    <>
      <TopBar
        title={id ?? "Models"}
        name={id ? `${id}, model` : "Models"}
        trail={id ? [{ name: "Models", href: "/models" }] : []}
      >
        <ShareButton />
      </TopBar>
      <div className="models">
        <nav className="models-list" aria-label="Models">
          {models.error ? <ErrorNote error={models.error} /> : null}
          {all.map((m) => (
            <Link key={m.id} href={`/models?model=${m.id}`} aria-current={m.id === id ? "true" : undefined}>
              <span className="strong">{m.id}</span>
              <br />
              <span className="small soft">
                {m.parentId ? `from ${m.parentId}` : "imported"} · {bytes(m.facts.weightBytes)}
              </span>
            </Link>
          ))}
          <div style={{ padding: "16px 8px" }}>
            <BringYourOwn />
          </div>
        </nav>
        {id ? <Detail key={id} id={id} /> : null}
      </div>
    </>
  );
}

function Detail({ id }: { id: string }) {
  const trpc = useTRPC();
  const router = useRouter();
  const toast = useToast();
  const models = useQuery(trpc.models.list.queryOptions());
  const detail = useQuery(trpc.models.get.queryOptions({ id }));
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id }, { staleTime: Number.POSITIVE_INFINITY }));
  const figures = useQuery(trpc.models.figures.queryOptions({ id }, { retry: false }));
  const [isExporting, setExporting] = useState(false);
  const update = useMutation(trpc.models.update.mutationOptions());
  if (detail.error) return <ErrorNote error={detail.error} />;
  const model = detail.data?.model;
  const packageSize = figures.data?.packageBytes ? bytes(figures.data.packageBytes) : figures.isPending ? "…" : "–";
  const speed = figures.data?.usualSpeed ?? null;
  const speedName = speed
    ? `${speed.kind}, ${speed.device.replace(/ \(.*/, "")} at ${count(speed.context)}`
    : "speed on a phone";
  const contexts = anatomy.data ? contextsUpTo(anatomy.data.maxPositions) : [];
  const archive = (): void =>
    update.mutate(
      { id, archived: true },
      {
        onSuccess: () => {
          router.push("/models");
          toast({ text: `${id} was archived`, undo: () => update.mutate({ id, archived: false }) });
        },
      },
    );
  return (
    <div className="models-body">
      <header>
        <div className="row">
          <h2 className="title">{id}</h2>
          <span className="end row">
            <Link className="button primary" href={`/explore?model=${id}`}>
              Explore its heads
            </Link>
            <Link className="button" href={`/quantize?model=${id}`}>
              Quantize
            </Link>
            <button type="button" onClick={() => setExporting(true)}>
              Export…
            </button>
            <ExportSheet model={id} title={id} isOpen={isExporting} onClose={() => setExporting(false)} />
            {id === "starter" ? null : (
              <button type="button" onClick={archive}>
                Archive
              </button>
            )}
          </span>
        </div>
        {model ? (
          <p className="soft">
            {model.note ? `${model.note} ` : ""}
            {model.runId ? <Link href={`/runs/${model.runId}`}>The run that made it</Link> : null}{" "}
            <code>{model.hash.slice(0, 12)}</code>
          </p>
        ) : null}
        {model ? (
          <div className="models-numbers">
            {[
              [count(model.facts.parameters), "parameters"],
              [bytes(model.facts.weightBytes), "weights in a package"],
              [packageSize, figures.data?.packageIs === "written" ? "package, written" : "package, predicted"],
              [speed ? `${count(speed.tokensPerSecond)} tok/s` : "–", speedName],
              [fixed(model.facts.bitsPerWeight, 2), "bits per weight"],
              [`${model.facts.layers} × ${Math.max(...model.facts.queryHeads)}`, "layers × heads at most"],
              [count(model.facts.vocab), "tokens in the vocabulary"],
              [count(model.facts.maxPositions), "positions at most"],
              [bytes(model.facts.storedBytes), "in its own files"],
            ].map(([value, name]) => (
              <div key={name}>
                <div className="figure-number">{value}</div>
                <div className="soft small">{name}</div>
              </div>
            ))}
          </div>
        ) : null}
      </header>
      {anatomy.error ? <ErrorNote error={anatomy.error} /> : null}
      {anatomy.data ? (
        <div className="models-figures">
          <ArchitecturePicture anatomy={anatomy.data} />
          <Treemap anatomy={anatomy.data} />
          <Chart
            title="KV cache"
            sentence={`Bytes in fp16 by context; layers with a window stop growing at it. ${bytes(kvCacheBytes(anatomy.data.layers, contexts.at(-1) ?? 0))} at ${count(contexts.at(-1) ?? 0)} positions, exact.`}
            series={[
              {
                name: "cache",
                x: contexts,
                y: contexts.map((c) => kvCacheBytes(anatomy.data.layers, c) / 1000),
                kind: "line",
                style: "ink",
              },
            ]}
            x={{ title: "Context, tokens", logarithmic: contexts.length > 4 }}
            y={{ title: "KV cache, kB" }}
            height={240}
          />
          <Lineage id={id} all={models.data ?? []} />
        </div>
      ) : anatomy.isPending ? (
        <Waiting>reading what it is made of</Waiting>
      ) : null}
    </div>
  );
}
