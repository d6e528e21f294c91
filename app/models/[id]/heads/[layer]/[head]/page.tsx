"use client";
/** @file The page of one head. */
import { useParams } from "next/navigation";
import { Suspense } from "react";
import { HeadPage } from "../../../../../heads/head-page.tsx";

export default function OneHead() {
  return (
    <Suspense>
      <Head />
    </Suspense>
  );
}

function Head() {
  const { id, layer, head } = useParams<{ id: string; layer: string; head: string }>();
  return <HeadPage model={decodeURIComponent(id)} layer={layer} head={head} />;
}
