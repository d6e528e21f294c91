/** @file Everything that has been evaluated, over the API. */
import { evaluatedBoards } from "../tradeoff/evaluated.ts";
import { procedure, router } from "./trpc.ts";

export const tradeoffRouter = router({
  /** Points by base, text and protocol, the board with the newest measurement first. */
  boards: procedure.query(({ ctx }) => evaluatedBoards(ctx.core)),
});
