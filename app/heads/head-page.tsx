"use client";
/** @file One head: its worth by every metric, beside its neighbours; what it attends to; what breaks without it; examples. */
import { useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import "../explore/explore.css";
import "./heads.css";
import { useEffect, useRef, useState } from "react";
import { type Anatomy, spokenUnit } from "../explore/grid-units.ts";
import { headAddress } from "../explore/head-address.ts";
import { Breaks, Examples, OnYourSentence, Patterns } from "../explore/unit-explained.tsx";
import { measured, metricsMeasured } from "../explore/unit-worth.ts";
import { useRested } from "../explore/use-what-if.ts";
import { tabName, useTRPC } from "../parts/api.tsx";
import { Picker } from "../parts/controls.tsx";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Link } from "../parts/link.tsx";
import { ShareButton, TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { Neighbours } from "./neighbours.tsx";
import { Distances, Facts, Tokens } from "./reach.tsx";
import { WorthTable } from "./worth-table.tsx";

export interface HeadPageProps {
  readonly model: string;
  /** As in the address. */
  readonly layer: string;
  readonly head: string;
}

/** Keys pass over heads faster than they can be explained. */
const REST_MS = 250;
const EXAMPLES_SHOWN = 8;

const indexIn = (text: string, count: number): number | null =>
  /^\d{1,6}$/.test(text) && Number(text) < count ? Number(text) : null;

export function HeadPage(props: HeadPageProps) {
  const { model } = props;
  const trpc = useTRPC();
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id: model }, { staleTime: Number.POSITIVE_INFINITY }));
  const layers = anatomy.data?.layers ?? [];
  const layer = indexIn(props.layer, layers.length);
  const head = layer === null ? null : indexIn(props.head, layers[layer]?.queryHeads ?? 0);
  if (anatomy.data && layer !== null && head !== null)
    return <Known model={model} anatomy={anatomy.data} layer={layer} head={head} />;
  const name = `L${props.layer}.H${props.head}`;
  return (
    <>
      <TopBar title={name} name={`${name} of ${model}`} trail={trailOf(model)} />
      <div className="region">
        {anatomy.error ? (
          <ErrorNote error={anatomy.error} />
        ) : anatomy.data ? (
          <Empty
            title={`${model} has no head ${name}`}
            action={
              <Link className="button" href={`/explore?model=${encodeURIComponent(model)}`}>
                Explore its heads
              </Link>
            }
          >
            {layer === null
              ? `Its layers are L0 to L${layers.length - 1}.`
              : `Layer ${layer} has the heads H0 to H${(layers[layer]?.queryHeads ?? 1) - 1}.`}
          </Empty>
        ) : (
          <Waiting>Opening {model}</Waiting>
        )}
      </div>
    </>
  );
}

const trailOf = (model: string) => [
  { name: "Models", href: "/models" },
  { name: model, href: `/models?model=${encodeURIComponent(model)}` },
];

interface KnownProps {
  readonly model: string;
  readonly anatomy: Anatomy;
  readonly layer: number;
  readonly head: number;
}

function Known({ model, anatomy, layer, head }: KnownProps) {
  const trpc = useTRPC();
  const router = useRouter();
  const { get, set } = useAddress();
  const unit = `L${layer}.H${head}`;
  const importance = useQuery(trpc.whatIf.importance.queryOptions({ model }));
  const texts = useQuery(trpc.texts.list.queryOptions());
  const named = get("text");
  const all = importance.data ?? [];
  const known = (texts.data ?? []).filter((t) => t.kind === "text");
  // What was measured on another text says nothing of the one that was chosen.
  const own = named === null ? all : all.filter((i) => i.text === named);
  const metrics = metricsMeasured(own, "heads");
  const source = metrics[0] ? measured(own, metrics[0], "heads", "loss").source : null;
  const text = (
    known.find((t) => t.id === named) ??
    known.find((t) => t.id === source?.text) ??
    known.find((t) => t.split === "calibrate") ??
    known[0]
  )?.id;
  const sentence = get("sentence");
  const addressOf = (other: string): string => {
    const search = new URLSearchParams({
      ...(named === null ? {} : { text: named }),
      ...(sentence === null ? {} : { sentence }),
    }).toString();
    return `${headAddress(model, other, null) ?? ""}${search === "" ? "" : `?${search}`}`;
  };
  const explore = `/explore?model=${encodeURIComponent(model)}&at=${unit}${named === null ? "" : `&text=${encodeURIComponent(named)}`}`;
  const move = (layers: number, heads: number) => (): void => {
    // A second key may come before the page of the first is drawn; the address bar knows where it went.
    const [, l, h] = /\/heads\/(\d+)\/(\d+)$/.exec(window.location.pathname) ?? [];
    const to = { layer: Number(l ?? layer) + layers, head: Number(h ?? head) + heads };
    if (to.head >= 0 && to.head < (anatomy.layers[to.layer]?.queryHeads ?? 0))
      router.push(addressOf(`L${to.layer}.H${to.head}`));
  };
  useHotkeys({
    "head.next": move(0, 1),
    "head.previous": move(0, -1),
    "head.later": move(1, 0),
    "head.earlier": move(-1, 0),
    "head.explore": () => router.push(explore),
  });
  const shape = anatomy.layers[layer];
  const group = shape?.headToGroup[head];
  const sharing = (shape?.headToGroup ?? []).flatMap((g, h) => (g === group && h !== head ? [h] : []));
  return (
    <>
      <TopBar title={unit} name={`${unit} of ${model}`} trail={trailOf(model)}>
        <ShareButton />
      </TopBar>
      <div className="head-page">
        <header>
          <div className="row">
            <h2 className="title">{spokenUnit(unit)}</h2>
            <span className="end row">
              {text !== undefined && known.length > 1 ? (
                <Picker
                  label="Text"
                  options={known.map((t) => [t.id, t.id] as const)}
                  value={text}
                  onChange={(to) => set({ text: to })}
                />
              ) : null}
              <Link className="button" href={explore}>
                Show in Explore
              </Link>
            </span>
          </div>
          <p className="soft">
            {shape ? `${shape.headDim} wide, reads KV group ${group}` : ""}
            {sharing.length > 0 ? ` with ${sharing.map((h) => `H${h}`).join(", ")}` : " alone"}
            {shape?.window ? `, sees the last ${shape.window} tokens` : ", sees all tokens before it"}
          </p>
        </header>
        {importance.error ? <ErrorNote error={importance.error} /> : null}
        {texts.error ? <ErrorNote error={texts.error} /> : null}
        {importance.data ? (
          <div className="head-worth">
            <WorthTable model={model} unit={unit} importance={own} metrics={metrics} text={named} />
            <Neighbours
              anatomy={anatomy}
              layer={layer}
              head={head}
              importance={own}
              metric={metrics[0] ?? null}
              addressOf={addressOf}
            />
          </div>
        ) : importance.error ? null : (
          <Waiting>Reading what was measured</Waiting>
        )}
        {text !== undefined ? (
          <Attention model={model} text={text} unit={unit} />
        ) : texts.data ? (
          <Empty title="There is no text to take examples from">
            Add a text on Explore, and this page says what the head attends to.
          </Empty>
        ) : null}
      </div>
    </>
  );
}

/** The width of a block, up to `most`. */
function useWidthOf(most: number) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(312);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.max(280, Math.min(most, Math.floor(entry.contentRect.width))));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [most]);
  return { box, width };
}

function Attention(props: { readonly model: string; readonly text: string; readonly unit: string }) {
  const trpc = useTRPC();
  const unit = useRested(props.unit, REST_MS);
  const { box, width } = useWidthOf(460);
  const explained = useQuery(
    trpc.whatIf.explain.queryOptions(
      { model: props.model, text: props.text, unit, client: tabName },
      { enabled: unit === props.unit, staleTime: Number.POSITIVE_INFINITY, gcTime: 600_000, retry: false },
    ),
  );
  const found = unit === props.unit ? explained.data : undefined;
  return (
    <div className="head-attention">
      <section ref={box}>
        <h2>Where it looks</h2>
        <OnYourSentence {...props} unit={unit} isReady width={width} />
      </section>
      <section>
        {explained.error ? (
          <ErrorNote
            error={explained.error}
            action={
              <button type="button" onClick={() => void explained.refetch()}>
                Ask again
              </button>
            }
          />
        ) : found ? (
          <>
            <h2>On {props.text}</h2>
            {found.reach ? <Facts reach={found.reach} /> : null}
            {found.patterns ? <Patterns patterns={found.patterns} /> : null}
            {found.reach ? <Distances reach={found.reach} /> : null}
          </>
        ) : (
          <Waiting>Reading where it looks on {props.text}</Waiting>
        )}
      </section>
      {found ? (
        <>
          <section>
            <h2>What breaks without it</h2>
            <p className="soft small">The tokens whose loss rises most when its gate is closed.</p>
            <Breaks breaks={found.breaks} shown={EXAMPLES_SHOWN} />
          </section>
          <section>
            {found.examples ? <Examples examples={found.examples} shown={EXAMPLES_SHOWN} /> : null}
            {found.reach ? <Tokens reach={found.reach} /> : null}
          </section>
        </>
      ) : null}
    </div>
  );
}
