CREATE TABLE "cost_fits" (
	"chip" text PRIMARY KEY NOT NULL,
	"fit" jsonb NOT NULL,
	"fitted_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "package_profiles" (
	"package_sha256" text PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"profile" jsonb NOT NULL
);
