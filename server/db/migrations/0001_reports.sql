CREATE TABLE "devices" (
	"id" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"identifier" text NOT NULL,
	"chip" text,
	"memory_bytes" bigint NOT NULL,
	"system" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_seen_at" timestamp with time zone NOT NULL,
	CONSTRAINT "devices_identifier_unique" UNIQUE("identifier")
);
--> statement-breakpoint
CREATE TABLE "pairings" (
	"id" text PRIMARY KEY NOT NULL,
	"package_id" text NOT NULL,
	"token_hash" text NOT NULL,
	"code_hash" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	"report_id" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "pairings_token_hash_unique" UNIQUE("token_hash"),
	CONSTRAINT "pairings_code_hash_unique" UNIQUE("code_hash")
);
--> statement-breakpoint
CREATE TABLE "reports" (
	"id" text PRIMARY KEY NOT NULL,
	"sha256" text NOT NULL,
	"package_sha256" text NOT NULL,
	"device_id" text NOT NULL,
	"via" text NOT NULL,
	"passed" boolean NOT NULL,
	"body" jsonb NOT NULL,
	"received_at" timestamp with time zone NOT NULL,
	CONSTRAINT "reports_sha256_unique" UNIQUE("sha256")
);
--> statement-breakpoint
ALTER TABLE "packages" ADD COLUMN "package_sha256" text;--> statement-breakpoint
CREATE INDEX "reports_package" ON "reports" USING btree ("package_sha256");--> statement-breakpoint
CREATE INDEX "reports_device" ON "reports" USING btree ("device_id");