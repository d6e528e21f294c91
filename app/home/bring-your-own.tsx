"use client";
/** @file Bring your own: a checkpoint folder or .gguf file from this browser or on the server’s machine, or an id of the hub. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { useTRPC, useTRPCClient } from "../parts/api.tsx";
import { Keys } from "../parts/controls.tsx";
import { bytes, percent } from "../parts/format.ts";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Icon } from "../parts/icons.tsx";
import { ErrorNote, ProgressBar } from "../parts/states.tsx";
import { checkpointFiles, ggufFile, sendFolder } from "./send-folder.ts";

export function BringYourOwn() {
  const [open, setOpen] = useState<"folder" | "hub" | null>(null);
  const files = useRef<HTMLInputElement>(null);
  useHotkeys({ "home.folder": () => setOpen("folder"), "home.hub": () => setOpen("hub") });
  return (
    <section>
      <h2>Bring your own</h2>
      <button type="button" className="home-bring" aria-expanded={open === "folder"} onClick={() => setOpen("folder")}>
        <Icon name="folder" />
        <span>
          <span className="strong">Open a checkpoint</span>
          <br />
          <span className="small soft">a folder of safetensors with config.json, or a .gguf file</span>
        </span>
        <span className="end">
          <Keys of="home.folder" />
        </span>
      </button>
      {open === "folder" ? <Folder input={files} /> : null}
      <button type="button" className="home-bring" aria-expanded={open === "hub"} onClick={() => setOpen("hub")}>
        <Icon name="download" />
        <span>
          <span className="strong">Import by hub id</span>
          <br />
          <span className="small soft">asks before it downloads</span>
        </span>
        <span className="end">
          <Keys of="home.hub" />
        </span>
      </button>
      {open === "hub" ? <Hub /> : null}
      <Imports />
    </section>
  );
}

const idOf = (text: string): string =>
  text
    .replace(/\/+$|\.gguf$/gi, "")
    .split("/")
    .slice(-1)[0]
    ?.replaceAll(/[^\w.-]+/g, "-")
    .replace(/^[-.]+/, "") ?? "";

function Folder({ input }: { input: React.RefObject<HTMLInputElement | null> }) {
  const client = useTRPCClient();
  const queries = useQueryClient();
  const gguf = useRef<HTMLInputElement>(null);
  const [path, setPath] = useState("");
  const [share, setShare] = useState<number | null>(null);
  const send = useMutation({
    mutationFn: async (list: readonly File[]) => {
      const single = list.length === 1 && list[0]?.webkitRelativePath === "" ? list[0] : null;
      const { name, files } = single ? { name: single.name, files: [ggufFile(single)] } : checkpointFiles(list);
      const batch = await sendFolder(files, setShare);
      return client.models.import.mutate({ source: `upload:${batch}`, as: idOf(name) });
    },
    onSettled: () => {
      setShare(null);
      void queries.invalidateQueries({ queryKey: [["models"]] });
    },
  });
  const open = useMutation({
    mutationFn: (source: string) => client.models.import.mutate({ source, as: idOf(source) }),
    onSuccess: () => void queries.invalidateQueries({ queryKey: [["models"]] }),
  });
  const model = send.data ?? open.data;
  return (
    <div style={{ padding: "10px 4px 14px", display: "grid", gap: 10 }}>
      <div className="row">
        <button type="button" disabled={send.isPending} onClick={() => input.current?.click()}>
          Choose a folder…
        </button>
        <span className="small soft">copied to the workbench</span>
        <input
          ref={input}
          type="file"
          hidden
          multiple
          aria-label="Checkpoint folder"
          // The attribute has no name in React's types.
          {...{ webkitdirectory: "" }}
          onChange={(e) => e.target.files && e.target.files.length > 0 && send.mutate([...e.target.files])}
        />
        <button type="button" disabled={send.isPending} onClick={() => gguf.current?.click()}>
          Choose a .gguf file…
        </button>
        <input
          ref={gguf}
          type="file"
          hidden
          accept=".gguf"
          aria-label="GGUF file"
          onChange={(e) => e.target.files && e.target.files.length > 0 && send.mutate([...e.target.files])}
        />
      </div>
      <form
        className="row"
        style={{ flexWrap: "nowrap" }}
        onSubmit={(e) => {
          e.preventDefault();
          open.mutate(path.trim());
        }}
      >
        <input
          aria-label="Folder or .gguf file on the server’s machine"
          placeholder="or a path on the server’s machine"
          value={path}
          onChange={(e) => setPath(e.target.value)}
          style={{ flex: 1, minWidth: 0 }}
        />
        <button type="submit" disabled={path.trim() === "" || open.isPending}>
          Open
        </button>
      </form>
      {share === null ? null : (
        <ProgressBar name="Sending the checkpoint" progress={{ share, label: "sending", left: null }} />
      )}
      {send.error ? <ErrorNote error={send.error} /> : null}
      {open.error ? <ErrorNote error={open.error} /> : null}
      {model ? <Ready id={model.id} /> : null}
    </div>
  );
}

function Hub() {
  const trpc = useTRPC();
  const [repository, setRepository] = useState("");
  const [asked, setAsked] = useState<string | null>(null);
  const size = useQuery(
    trpc.models.hubSize.queryOptions({ repository: asked ?? "" }, { enabled: asked !== null, retry: false }),
  );
  const begin = useMutation(trpc.models.importFromHub.mutationOptions({ onSuccess: () => setAsked(null) }));
  return (
    <div style={{ padding: "10px 4px 14px", display: "grid", gap: 10 }}>
      <form
        className="row"
        style={{ flexWrap: "nowrap" }}
        onSubmit={(e) => {
          e.preventDefault();
          setAsked(repository.trim());
        }}
      >
        <input
          aria-label="Id of a repository on the hub"
          placeholder="HuggingFaceTB/SmolLM2-135M"
          value={repository}
          onChange={(e) => setRepository(e.target.value)}
          style={{ flex: 1, minWidth: 0 }}
        />
        <button type="submit" disabled={repository.trim() === ""}>
          Look
        </button>
      </form>
      {size.data && asked ? (
        <p className="row" style={{ margin: 0 }}>
          {size.data.files} files, {bytes(size.data.sizeBytes)}
          <button
            type="button"
            disabled={begin.isPending}
            onClick={() => begin.mutate({ repository: asked, as: idOf(asked) })}
          >
            Download as {idOf(asked)}
          </button>
        </p>
      ) : null}
      {size.error && asked ? <ErrorNote error={size.error} /> : null}
      {begin.error ? <ErrorNote error={begin.error} /> : null}
    </div>
  );
}

function Imports() {
  const trpc = useTRPC();
  const imports = useQuery(trpc.models.imports.queryOptions());
  const cancel = useMutation(trpc.models.cancelImport.mutationOptions());
  return (imports.data ?? []).map((i) => {
    const share = i.totalBytes > 0 ? i.doneBytes / i.totalBytes : 0;
    const passed = (i.nowMs - i.startedMs) / 1000;
    const rest = share > 0.05 ? (passed / share) * (1 - share) : null;
    if (i.state === "ready") return <Ready key={i.as} id={i.as} />;
    if (i.state === "failed") return <ErrorNote key={i.as} error={new Error(`${i.repository}: ${i.error}`)} />;
    if (i.state === "cancelled") return null;
    return (
      <div key={i.as} style={{ padding: "8px 4px" }}>
        <div className="row">
          <span className="strong">{i.as}</span>
          <button type="button" className="quiet end" onClick={() => cancel.mutate({ as: i.as })}>
            Cancel
          </button>
        </div>
        <ProgressBar
          name={`Import of ${i.as}`}
          progress={{
            share,
            label:
              i.state === "checking"
                ? "checking"
                : `${bytes(i.doneBytes)} of ${bytes(i.totalBytes)}, ${percent(share, 0)}`,
            left: rest === null ? null : { lowSeconds: rest * 0.8, highSeconds: rest * 1.3 },
          }}
        />
      </div>
    );
  });
}

const Ready = ({ id }: { id: string }) => (
  <p className="row" style={{ margin: "8px 4px" }} role="status">
    <span className="ok">
      <Icon name="check" />
    </span>
    <span className="strong">{id}</span> is ready. <a href={`/models?model=${id}`}>Look at it</a>
  </p>
);
