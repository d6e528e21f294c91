"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useTRPC } from "../parts/api.tsx";
import { IconButton } from "../parts/controls.tsx";
import { moment } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote } from "../parts/states.tsx";
import { useToast } from "../parts/toast.tsx";

export default function Notebooks() {
  const trpc = useTRPC();
  const router = useRouter();
  const toast = useToast();
  const all = useQuery(trpc.notebooks.list.queryOptions());
  const create = useMutation(
    trpc.notebooks.create.mutationOptions({ onSuccess: (n) => router.push(`/notebooks/${n.id}`) }),
  );
  const archive = useMutation(trpc.notebooks.archive.mutationOptions());
  const begin = (): void => create.mutate({ title: "Untitled", cells: [{ id: "first", type: "markdown", text: "" }] });
  const button = (
    <button type="button" className="primary" disabled={create.isPending} onClick={begin}>
      <Icon name="plus" /> New notebook
    </button>
  );
  return (
    <>
      <TopBar title="Notebooks">{button}</TopBar>
      <section className="region">
        {all.error ? <ErrorNote error={all.error} /> : null}
        {create.error ? <ErrorNote error={create.error} /> : null}
        {all.data?.length === 0 ? (
          <Empty title="No notebooks yet" action={button}>
            A notebook holds text, experiments and figures in one column, and keeps what was measured in it.
          </Empty>
        ) : (
          <table>
            <thead>
              <tr>
                <th>Notebook</th>
                <th className="number">Cells</th>
                <th className="number">Version</th>
                <th className="number">Changed</th>
                <th>
                  <span className="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {(all.data ?? []).map((n) => (
                <tr key={n.id}>
                  <td>
                    <Link href={`/notebooks/${n.id}`} className="strong">
                      {n.title}
                    </Link>
                  </td>
                  <td className="number">{n.cells}</td>
                  <td className="number soft">{n.version}</td>
                  <td className="number soft">{moment(n.updatedAt)}</td>
                  <td className="number">
                    <IconButton
                      icon="trash"
                      label={`Archive “${n.title}”`}
                      onClick={() =>
                        archive.mutate(
                          { id: n.id },
                          {
                            onSuccess: () =>
                              toast({
                                text: `“${n.title}” was archived`,
                                undo: () => archive.mutate({ id: n.id, archived: false }),
                              }),
                          },
                        )
                      }
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
    </>
  );
}
