// Runs the probe's host code on cases that host-check.ts made, and prints what came out as JSON for it to compare.
import Foundation

struct Cases: Codable {
    struct Call: Codable {
        let interface: PackageInterface
        let function: String
        let tokens: [Int]
        let position: Int
    }

    struct Tokenizer: Codable {
        let file: String
        let texts: [String]
    }

    struct SoftCap: Codable {
        let interface: PackageInterface
        let logits: [Float]
    }

    struct Prompt: Codable {
        let interface: PackageInterface
        let text: [Int]
        /// Tokens a model would choose, one after the other.
        let chosen: [Int]
    }

    struct Comparison: Codable {
        let golden: Golden
        let rows: [[Float]]
        let greedy: [Int]
    }

    struct Embedding: Codable {
        let file: String
        let factor: Float
        let tokens: [Int]
    }

    let calls: [Call]
    let tokenizers: [Tokenizer]
    let comparisons: [Comparison]
    let embeddings: [Embedding]
    let softCaps: [SoftCap]
    let prompts: [Prompt]
    let links: [String]
    let times: [Double]
}

struct Array16: Codable {
    let shape: [Int]
    let kind: String
    /// Bit patterns of fp16, or integers.
    let values: [Int]
}

struct Results: Codable {
    struct Tokens: Codable {
        let ids: [[Int]]
        let texts: [String]
    }

    struct Exported: Codable {
        let function: String
        let position: Int
        let count: Int
        let inputs: [String: Array16]
    }

    var calls: [[String: Array16]] = []
    var exported: [Exported] = []
    var refusals: [String] = []
    var tokenizers: [Tokens] = []
    var comparisons: [Report.Parity] = []
    var embeddings: [[[Int]]] = []
    var softCaps: [[Float]] = []
    /// The prompt, and what is said until a token ends it.
    var prompts: [[[Int]]] = []
    var links: [String] = []
    var report: Report?
}

func bits(_ values: [Float16]) -> [Int] { values.map { Int($0.bitPattern) } }

func shown(_ array: HostArray) -> Array16 {
    switch array.values {
    case .float16(let values): Array16(shape: array.shape, kind: "fp16", values: bits(values))
    case .int32(let values): Array16(shape: array.shape, kind: "int32", values: values.map { Int($0) })
    }
}

let cases = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: URL(fileURLWithPath: "cases.json")))
var results = Results()

/// Tables that the cases name lie beside them.
func beside(_ file: String) -> URL { URL(fileURLWithPath: file) }

for call in cases.calls {
    do {
        let tables = HostTables(interface: call.interface, rows: try RowTables(call.interface, find: beside))
        let inputs = try tables.inputs(try call.interface.function(call.function), tokens: call.tokens, position: call.position)
        results.calls.append(inputs.mapValues(shown))
        results.refusals.append("")
    } catch {
        results.calls.append([:])
        results.refusals.append(String(describing: error))
    }
}
// The manifest and the golden vectors of a real export must be what the app understands, to the last field.
let manifest = try JSONDecoder().decode(ProbeManifest.self, from: Data(contentsOf: URL(fileURLWithPath: "probe.json")))
let exported = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: URL(fileURLWithPath: "golden.json")))
guard exported.vocab == manifest.interface.vocab, try exported.cases.allSatisfy({ try manifest.interface.function($0.decode).context == $0.context })
else { fatalError("golden.json and probe.json do not belong together") }
for function in manifest.interface.functions {
    for position in [0, 1, 17, function.context - function.width] {
        for count in Set([1, function.width]).sorted() where function.takes(count, at: position) {
            let tables = HostTables(interface: manifest.interface, rows: try RowTables(manifest.interface, find: beside))
            let inputs = try tables.inputs(function, tokens: Array(repeating: 3, count: count), position: position)
            results.exported.append(Results.Exported(
                function: function.name, position: position, count: count, inputs: inputs.mapValues(shown)))
        }
    }
}
for given in cases.tokenizers {
    let tokenizer = try BpeTokenizer(json: Data(contentsOf: URL(fileURLWithPath: given.file)))
    let ids = given.texts.map(tokenizer.encode)
    results.tokenizers.append(Results.Tokens(ids: ids, texts: ids.map(tokenizer.decode)))
}
for given in cases.comparisons {
    var comparison = GoldenComparison(given.golden, given.golden.cases[0])
    for (position, row) in given.rows.enumerated() { comparison.add(position, row) }
    results.comparisons.append(comparison.finish(greedy: given.greedy))
}
for given in cases.embeddings {
    let file = try EmbeddingFile(url: URL(fileURLWithPath: given.file), factor: given.factor)
    results.embeddings.append(try given.tokens.map { bits(try file.row($0)) })
}
results.softCaps = cases.softCaps.map { $0.interface.capped($0.logits) }
results.prompts = cases.prompts.map { given in
    [given.interface.prompt(given.text), Array(given.chosen.prefix { !given.interface.ends($0) })]
}
for text in cases.links {
    do {
        let link = try PairingLink(text)
        results.links.append("\(link.endpoint.absoluteString) \(link.token) \(link.package)")
    } catch {
        results.links.append("refused")
    }
}
var run = Report.Run(computeUnits: "cpuAndNeuralEngine")
run.parity = results.comparisons
run.loads = [Report.Load(function: "decode", compileMs: nil, firstMs: 12.5, warmMs: 1)]
if let spread = Report.Spread(cases.times) {
    run.decode = [Report.Decode(function: "decode", context: 64, filled: 16, perToken: spread, hostPerToken: nil)]
    run.prefill = [Report.Prefill(function: "prefill", context: 64, width: 16, perCall: spread, tokensPerSecond: 1)]
}
run.sustained = Report.Sustained(
    function: "decode", context: 64, windows: [Report.Window(atSeconds: 10, tokens: 5, tokensPerSecond: 0.5, thermal: "fair")])
run.memory = Report.Memory(beforeBytes: 1, loadedBytes: 2, peakBytes: 3, availableBytes: 4)
run.placement = [
    Report.Placement(function: "decode", operations: [
        Report.Operation(output: "x", operator: "conv", preferred: "neuralEngine", supported: ["cpu", "neuralEngine"], cost: 0.5)
    ])
]
run.failures = [Report.Failure("a stage", ProbeError("it broke", hint: "Mend it."))]
results.report = Report(
    package: Report.Package(name: "Starter", sha256: String(repeating: "a", count: 64), weightsSha256: nil, sizeBytes: 12),
    device: Report.Device(
        kind: "iphone", identifier: "iPhone16,1", chip: "A17 Pro", system: "iOS", systemVersion: "18.6", systemBuild: nil,
        memoryBytes: 8_000_000_000, lowPowerMode: false),
    tools: Report.Tools(probe: Report.probeVersion, configuration: "release", compiler: nil, sdk: "iphoneos18.5"),
    startedAt: ISO8601DateFormatter().string(from: Date(timeIntervalSince1970: 1_700_000_000)), durationSeconds: 1.5, runs: [run],
    thermal: [Report.Thermal(atSeconds: 0, state: "nominal")],
    battery: Report.Battery(startPercent: 80, endPercent: 79, overSeconds: 600, charging: false),
    notMeasured: [Report.NotMeasured(what: "energy", why: "no figure")])
guard let report = results.report else { exit(1) }
try report.encoded().write(to: URL(fileURLWithPath: "report.json"))
let encoder = JSONEncoder()
encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
results.report = nil
try encoder.encode(results).write(to: URL(fileURLWithPath: "results.json"))
print("ran \(cases.calls.count) calls")
