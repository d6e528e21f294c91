/**
 * @file The probe's Xcode project: `project.pbxproj` and its shared scheme, written without Xcode.
 *
 * An application target with the Swift sources, a unit-test target hosted in it, and a build phase that copies the package as
 * it is: as a source or a resource Xcode would compile it, and the probe is to measure that on the device. Ids are the first 24
 * hexadecimal digits of a SHA-256 of what they stand for, so that the same export has the same bytes. Object version 56, which
 * Xcode 14 and later open.
 */
import { createHash } from "node:crypto";

export interface XcodeProject {
  /** Swift files of the app and of the tests, by name, in folders `Sources` and `Tests` beside the project. */
  readonly sources: readonly string[];
  readonly tests: readonly string[];
  /** What the copying phase takes along, relative to the project; shown in the navigator. */
  readonly payload: readonly string[];
  readonly deploymentTarget: string;
  /** Asks for more memory than an app is given by default. */
  readonly needsMuchMemory: boolean;
}

const APP = "Probe";
const TESTS = "ProbeTests";

type Value = string | readonly Value[] | { readonly [key: string]: Value };

const id = (what: string): string =>
  createHash("sha256").update(`espalier ${what}`).digest("hex").slice(0, 24).toUpperCase();

export function projectFile(project: XcodeProject): string {
  const objects: Record<string, Record<string, Value>> = {};
  const add = (what: string, object: Record<string, Value>): string => {
    objects[id(what)] = object;
    return id(what);
  };
  const file = (path: string, type: string, name: string): string =>
    add(`file ${path}`, {
      isa: "PBXFileReference",
      lastKnownFileType: type,
      name,
      path,
      sourceTree: "SOURCE_ROOT",
    });
  const build = (fileId: string, target: string): string =>
    add(`build ${fileId} ${target}`, { isa: "PBXBuildFile", fileRef: fileId });
  const group = (name: string, children: readonly string[]): string =>
    add(`group ${name}`, { isa: "PBXGroup", children, name, sourceTree: "<group>" });

  const sources = project.sources.map((n) => file(`Sources/${n}`, "sourcecode.swift", n));
  const tests = project.tests.map((n) => file(`Tests/${n}`, "sourcecode.swift", n));
  const plist = file("Info.plist", "text.plist.xml", "Info.plist");
  const entitlements = project.needsMuchMemory
    ? [file("Probe.entitlements", "text.plist.entitlements", "Probe.entitlements")]
    : [];
  const readme = file("README.md", "net.daringfireball.markdown", "README.md");
  const payload = project.payload.map((p) => file(p, payloadType(p), p.split("/").at(-1) ?? p));
  const product = (name: string, type: string): string =>
    add(`product ${name}`, {
      isa: "PBXFileReference",
      explicitFileType: type,
      includeInIndex: "0",
      path: name,
      sourceTree: "BUILT_PRODUCTS_DIR",
    });
  const app = product(`${APP}.app`, "wrapper.application");
  const bundle = product(`${TESTS}.xctest`, "wrapper.cfbundle");

  const products = group("Products", [app, bundle]);
  const main = add("main group", {
    isa: "PBXGroup",
    children: [
      readme,
      group("Sources", sources),
      group("Tests", tests),
      group("Payload", payload),
      plist,
      ...entitlements,
      products,
    ],
    sourceTree: "<group>",
  });

  const phase = (isa: string, target: string, files: readonly string[]): string =>
    add(`${isa} ${target}`, { isa, buildActionMask: "2147483647", files, runOnlyForDeploymentPostprocessing: "0" });
  const copy = add("copy payload", {
    isa: "PBXShellScriptBuildPhase",
    alwaysOutOfDate: "1",
    buildActionMask: "2147483647",
    files: [],
    inputPaths: [],
    name: "Copy the package as it is",
    outputPaths: [],
    runOnlyForDeploymentPostprocessing: "0",
    shellPath: "/bin/sh",
    shellScript: copyScript(project.payload),
  });
  const projectId = id("project");
  const configurations = (what: string, shared: Record<string, Value>, each: Record<string, Record<string, Value>>) =>
    add(`configurations ${what}`, {
      isa: "XCConfigurationList",
      buildConfigurations: ["Debug", "Release"].map((name) =>
        add(`configuration ${what} ${name}`, {
          isa: "XCBuildConfiguration",
          buildSettings: { ...shared, ...each[name] },
          name,
        }),
      ),
      defaultConfigurationIsVisible: "0",
      defaultConfigurationName: "Release",
    });

  const appTarget = add(`target ${APP}`, {
    isa: "PBXNativeTarget",
    buildConfigurationList: configurations(APP, appSettings(project), {}),
    buildPhases: [
      phase(
        "PBXSourcesBuildPhase",
        APP,
        sources.map((s) => build(s, APP)),
      ),
      phase("PBXFrameworksBuildPhase", APP, []),
      phase("PBXResourcesBuildPhase", APP, []),
      copy,
    ],
    buildRules: [],
    dependencies: [],
    name: APP,
    productName: APP,
    productReference: app,
    productType: "com.apple.product-type.application",
  });
  const proxy = add("proxy", {
    isa: "PBXContainerItemProxy",
    containerPortal: projectId,
    proxyType: "1",
    remoteGlobalIDString: appTarget,
    remoteInfo: APP,
  });
  const testTarget = add(`target ${TESTS}`, {
    isa: "PBXNativeTarget",
    buildConfigurationList: configurations(TESTS, testSettings(), {}),
    buildPhases: [
      phase(
        "PBXSourcesBuildPhase",
        TESTS,
        tests.map((t) => build(t, TESTS)),
      ),
      phase("PBXFrameworksBuildPhase", TESTS, []),
      phase("PBXResourcesBuildPhase", TESTS, []),
    ],
    buildRules: [],
    dependencies: [add("dependency", { isa: "PBXTargetDependency", target: appTarget, targetProxy: proxy })],
    name: TESTS,
    productName: TESTS,
    productReference: bundle,
    productType: "com.apple.product-type.bundle.unit-test",
  });
  objects[projectId] = {
    isa: "PBXProject",
    attributes: {
      BuildIndependentTargetsInParallel: "1",
      LastUpgradeCheck: "1600",
      TargetAttributes: { [testTarget]: { TestTargetID: appTarget } },
    },
    buildConfigurationList: configurations("project", sharedSettings(project), {
      Debug: { ENABLE_TESTABILITY: "YES", ONLY_ACTIVE_ARCH: "YES", SWIFT_OPTIMIZATION_LEVEL: "-Onone" },
      // Tests run in Release too: host code in Debug costs milliseconds per token.
      Release: {
        ENABLE_TESTABILITY: "YES",
        SWIFT_ACTIVE_COMPILATION_CONDITIONS: "PROBE_RELEASE",
        SWIFT_COMPILATION_MODE: "wholemodule",
        SWIFT_OPTIMIZATION_LEVEL: "-O",
        VALIDATE_PRODUCT: "YES",
      },
    }),
    compatibilityVersion: "Xcode 14.0",
    developmentRegion: "en",
    hasScannedForEncodings: "0",
    knownRegions: ["en", "Base"],
    mainGroup: main,
    productRefGroup: products,
    projectDirPath: "",
    projectRoot: "",
    targets: [appTarget, testTarget],
  };
  const sorted = Object.fromEntries(
    Object.entries(objects).sort(([a, x], [b, y]) => compare(String(x.isa), String(y.isa)) || compare(a, b)),
  );
  const root = {
    archiveVersion: "1",
    classes: {},
    objectVersion: "56",
    objects: sorted,
    rootObject: projectId,
  };
  return `// !$*UTF8*$!\n${show(root, 0)}\n`;
}

/** `Probe.xcscheme`: builds both targets, tests in Release, shared so that `xcodebuild` finds it. */
export function schemeFile(): string {
  const reference = (name: string, product: string): string =>
    `<BuildableReference BuildableIdentifier="primary" BlueprintIdentifier="${id(`target ${name}`)}" BuildableName="${product}" BlueprintName="${name}" ReferencedContainer="container:Probe.xcodeproj"/>`;
  const app = reference(APP, `${APP}.app`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<Scheme LastUpgradeVersion="1600" version="1.7">
  <BuildAction parallelizeBuildables="YES" buildImplicitDependencies="YES">
    <BuildActionEntries>
      <BuildActionEntry buildForTesting="YES" buildForRunning="YES" buildForProfiling="YES" buildForArchiving="YES" buildForAnalyzing="YES">
        ${app}
      </BuildActionEntry>
    </BuildActionEntries>
  </BuildAction>
  <TestAction buildConfiguration="Release" selectedDebuggerIdentifier="" selectedLauncherIdentifier="Xcode.IDEFoundation.Launcher.PosixSpawn" shouldUseLaunchSchemeArgsEnv="YES">
    <MacroExpansion>
      ${app}
    </MacroExpansion>
    <Testables>
      <TestableReference skipped="NO" parallelizable="NO">
        ${reference(TESTS, `${TESTS}.xctest`)}
      </TestableReference>
    </Testables>
  </TestAction>
  <LaunchAction buildConfiguration="Release" selectedDebuggerIdentifier="" selectedLauncherIdentifier="Xcode.IDEFoundation.Launcher.PosixSpawn" launchStyle="0" useCustomWorkingDirectory="NO" debugDocumentVersioning="YES" allowLocationSimulation="NO">
    <BuildableProductRunnable runnableDebuggingMode="0">
      ${app}
    </BuildableProductRunnable>
  </LaunchAction>
  <ProfileAction buildConfiguration="Release" shouldUseLaunchSchemeArgsEnv="YES" useCustomWorkingDirectory="NO" debugDocumentVersioning="YES">
    <BuildableProductRunnable runnableDebuggingMode="0">
      ${app}
    </BuildableProductRunnable>
  </ProfileAction>
  <AnalyzeAction buildConfiguration="Release"/>
  <ArchiveAction buildConfiguration="Release" revealArchiveInOrganizer="YES"/>
</Scheme>
`;
}

const sharedSettings = (project: XcodeProject): Record<string, Value> => ({
  ALWAYS_SEARCH_USER_PATHS: "NO",
  CLANG_ENABLE_MODULES: "YES",
  CODE_SIGN_STYLE: "Automatic",
  // Set in Xcode under Signing, or on the command line of `xcodebuild`.
  DEVELOPMENT_TEAM: "",
  ENABLE_USER_SCRIPT_SANDBOXING: "NO",
  IPHONEOS_DEPLOYMENT_TARGET: project.deploymentTarget,
  SDKROOT: "iphoneos",
  // The simulator has no Neural Engine and gives other numbers.
  SUPPORTED_PLATFORMS: "iphoneos",
  SWIFT_VERSION: "5.0",
  TARGETED_DEVICE_FAMILY: "1,2",
});

const appSettings = (project: XcodeProject): Record<string, Value> => ({
  CODE_SIGN_ENTITLEMENTS: project.needsMuchMemory ? "Probe.entitlements" : "",
  CURRENT_PROJECT_VERSION: "1",
  GENERATE_INFOPLIST_FILE: "NO",
  INFOPLIST_FILE: "Info.plist",
  LD_RUNPATH_SEARCH_PATHS: ["$(inherited)", "@executable_path/Frameworks"],
  MARKETING_VERSION: "1.0",
  // An identifier belongs to one team, so the team is part of it.
  PRODUCT_BUNDLE_IDENTIFIER: "dev.espalier.probe.$(DEVELOPMENT_TEAM)",
  PRODUCT_NAME: "$(TARGET_NAME)",
});

const testSettings = (): Record<string, Value> => ({
  BUNDLE_LOADER: "$(TEST_HOST)",
  CURRENT_PROJECT_VERSION: "1",
  GENERATE_INFOPLIST_FILE: "YES",
  LD_RUNPATH_SEARCH_PATHS: ["$(inherited)", "@executable_path/Frameworks", "@loader_path/Frameworks"],
  MARKETING_VERSION: "1.0",
  PRODUCT_BUNDLE_IDENTIFIER: "dev.espalier.probe.tests.$(DEVELOPMENT_TEAM)",
  PRODUCT_NAME: "$(TARGET_NAME)",
  TEST_HOST: "$(BUILT_PRODUCTS_DIR)/Probe.app/$(BUNDLE_EXECUTABLE_FOLDER_PATH)/Probe",
});

/** `PROBE_PAYLOAD=push` leaves the package out, for ones too large for an app: `probe.sh` sends those to Documents. */
const copyScript = (payload: readonly string[]): string =>
  [
    "set -eu",
    `to="$TARGET_BUILD_DIR/$UNLOCALIZED_RESOURCES_FOLDER_PATH/Payload"`,
    `rm -rf "$to"`,
    `mkdir -p "$to"`,
    ...payload.map((path) => {
      const copy = `ditto "$SRCROOT/${path}" "$to/$(basename "$SRCROOT/${path}")"`;
      return path.endsWith(".mlpackage") ? `if [ "\${PROBE_PAYLOAD:-}" != push ]; then ${copy}; fi` : copy;
    }),
    "",
  ].join("\n");

function payloadType(path: string): string {
  if (path.endsWith(".mlpackage")) return "folder.mlpackage";
  if (path.endsWith(".json")) return "text.json";
  return path.includes(".") ? "file" : "folder";
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** OpenStep property list, as Xcode writes it: keys in order, strings quoted where they need it. */
function show(value: Value, depth: number): string {
  const indent = "\t".repeat(depth + 1);
  const close = "\t".repeat(depth);
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value))
    return value.length === 0
      ? `(\n${close})`
      : `(\n${value.map((v) => `${indent}${show(v, depth + 1)},\n`).join("")}${close})`;
  const entries = Object.entries(value as { readonly [key: string]: Value });
  return `{\n${entries.map(([k, v]) => `${indent}${quoted(k)} = ${show(v, depth + 1)};\n`).join("")}${close}}`;
}

function quoted(text: string): string {
  if (/^[\w./]+$/.test(text)) return text;
  const escaped = text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return `"${escaped}"`;
}
