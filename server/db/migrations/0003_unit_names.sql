CREATE TABLE "run_units" (
	"run_id" text NOT NULL,
	"hash" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "run_units_run_id_hash_pk" PRIMARY KEY("run_id","hash")
);
--> statement-breakpoint
-- Results under names of another kind are found by nobody; summaries keep what ended runs measured.
DELETE FROM "units";--> statement-breakpoint
ALTER TABLE "units" ADD COLUMN "engine" text NOT NULL;--> statement-breakpoint
ALTER TABLE "units" ADD COLUMN "model" text NOT NULL;--> statement-breakpoint
ALTER TABLE "units" ADD COLUMN "subject" text NOT NULL;--> statement-breakpoint
ALTER TABLE "units" ADD COLUMN "shard" text NOT NULL;--> statement-breakpoint
CREATE INDEX "units_name" ON "units" USING btree ("model","subject","shard","engine");--> statement-breakpoint
ALTER TABLE "units" DROP COLUMN "key";