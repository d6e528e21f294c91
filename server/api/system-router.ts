/** @file The workbench itself over the API. */
import { systemInfo } from "../system/info.ts";
import { procedure, router } from "./trpc.ts";

export const systemRouter = router({
  info: procedure.query(({ ctx }) => systemInfo(ctx.core)),
});
