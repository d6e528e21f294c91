"use client";
/** @file Text of a notebook: Markdown with tables and maths, sanitised; links to runs are chips that follow the run. */
import { useQuery } from "@tanstack/react-query";
import Markdown from "react-markdown";
import rehypeKatex from "rehype-katex";
import rehypeSanitize, { defaultSchema } from "rehype-sanitize";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import { useTRPC } from "../parts/api.tsx";
import { plain } from "../parts/format.ts";
import { Link } from "../parts/link.tsx";
import { RunStateMark } from "../parts/states.tsx";

const schema: typeof defaultSchema = {
  ...defaultSchema,
  protocols: { ...defaultSchema.protocols, href: [...(defaultSchema.protocols?.href ?? []), "run"] },
  attributes: { ...defaultSchema.attributes, code: [["className", /^language-./, "math-inline", "math-display"]] },
};

export function Prose({ text }: { text: string }) {
  return (
    <div className="notebook-prose">
      <Markdown
        remarkPlugins={[remarkGfm, remarkMath]}
        rehypePlugins={[
          [rehypeSanitize, schema],
          [rehypeKatex, { output: "mathml" }],
        ]}
        urlTransform={(url) => url}
        components={{
          a: ({ href, children }) => {
            const run = /^run:(run_\w+)$/.exec(href ?? "")?.[1];
            return run ? <RunChip id={run}>{children}</RunChip> : <a href={href}>{children}</a>;
          },
        }}
      >
        {text}
      </Markdown>
    </div>
  );
}

/** State, name and the one number that matters; it changes until the run ends. */
export function RunChip({ id, children }: { id: string; children?: React.ReactNode }) {
  const trpc = useTRPC();
  const run = useQuery(trpc.runs.get.queryOptions({ id }, { retry: false }));
  if (run.error) return <span className="chip">no run {id}</span>;
  const first = Object.entries(run.data?.numbers ?? {})[0];
  return (
    <Link href={`/runs/${id}`} className="chip plain notebook-chip">
      {run.data ? <RunStateMark state={run.data.state} word={false} /> : null}
      <code>{children ?? run.data?.name ?? id}</code>
      {first ? (
        <span className="soft">
          {first[0]} {plain(first[1])}
        </span>
      ) : null}
    </Link>
  );
}
