/** @file The stream of events over the API. */
import { tracked } from "@trpc/server";
import { z } from "zod";
import { procedure, router } from "./trpc.ts";

const topic = z.string().regex(/^[\w:-]{1,80}$/);

export const eventsRouter = router({
  /**
   * What happens under these topics; goes on after `lastEventId` when a stream broke. The first event, of the topic "position",
   * says only where the stream begins, so that one that breaks before anything happened goes on from there too.
   */
  stream: procedure
    .input(z.object({ topics: z.array(topic).min(1).max(50), lastEventId: z.coerce.number().int().nullish() }))
    .subscription(async function* ({ ctx, input, signal }) {
      const { events } = ctx.core;
      const last = await events.lastSeq();
      // A later number than any comes from another database that was here before.
      const after = Math.min(input.lastEventId ?? last, last);
      if (after !== input.lastEventId) yield tracked(String(after), { topic: "position", payload: after });
      for await (const event of events.follow(input.topics, after, signal ?? new AbortController().signal))
        yield tracked(String(event.seq), { topic: event.topic, payload: event.payload });
    }),
});
