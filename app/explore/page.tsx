"use client";
/** @file Explore: what each unit is worth, what would happen without some of them, and one of them explained. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Suspense } from "react";
import { useTRPC } from "../parts/api.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import "./explore.css";
import { TopBar } from "../parts/shell.tsx";
import { ExploreView } from "./explore-view.tsx";
import { useExplore } from "./use-explore.ts";

export default function ExplorePage() {
  return (
    <Suspense>
      <Explore />
    </Suspense>
  );
}

/** Brings what the page is about: the models, the anatomy of one, what has been measured of it, the texts. */
function Explore() {
  const trpc = useTRPC();
  const state = useExplore();
  const { model } = state;
  const models = useQuery(trpc.models.list.queryOptions());
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id: model }, { staleTime: Number.POSITIVE_INFINITY }));
  const importance = useQuery(trpc.whatIf.importance.queryOptions({ model }, { placeholderData: keepPreviousData }));
  const texts = useQuery(trpc.texts.list.queryOptions());
  const trail = [
    { name: "Models", href: "/models" },
    { name: model, href: `/models?model=${encodeURIComponent(model)}` },
  ];
  if (anatomy.data && importance.data && texts.data)
    return (
      <ExploreView
        key={model}
        state={state}
        trail={trail}
        models={(models.data ?? []).filter((m) => !m.archived).map((m) => m.id)}
        anatomy={anatomy.data}
        importance={importance.isPlaceholderData ? [] : importance.data}
        texts={texts.data.filter((t) => t.kind === "text")}
        tasks={(texts.data.find((t) => t.kind === "tasks" && t.split === "select") ?? null)?.id ?? null}
      />
    );
  const error = anatomy.error ?? importance.error ?? texts.error;
  return (
    <>
      <TopBar title="Explore" trail={trail} />
      <div className="region">
        {error ? (
          <ErrorNote
            error={error}
            action={
              <button
                type="button"
                onClick={() => void Promise.all([anatomy.refetch(), importance.refetch(), texts.refetch()])}
              >
                Ask again
              </button>
            }
          />
        ) : models.data?.length === 0 ? (
          <Empty title="There is no model yet">
            Import a model to see its heads, KV groups, neurons and layers here.
          </Empty>
        ) : (
          <Waiting>Opening {model}</Waiting>
        )}
      </div>
    </>
  );
}
