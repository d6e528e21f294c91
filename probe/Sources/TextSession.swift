// One text in the caches of one context: tokens go in at the next position, logits come out. Calls are made one after another on
// the caller's thread, so that no input is overwritten while the Neural Engine may still read it.

import CoreML
import Foundation

final class TextSession {
    struct Timing {
        let totalMs: Double
        /// Tables, masks and copies: what is not spent in `prediction`.
        let hostMs: Double
    }

    let decode: PackageFunction
    private let package: LoadedPackage
    private let tables: HostTables
    private let state: MLState?
    private var caches: [String: MLMultiArray] = [:]
    private(set) var position = 0
    private(set) var timing = Timing(totalMs: 0, hostMs: 0)

    init(_ package: LoadedPackage, decode: PackageFunction, rows: RowTables) throws {
        self.package = package
        self.decode = decode
        tables = HostTables(interface: package.interface, rows: rows)
        let model = try package.model(decode)
        if package.interface.cacheForm == .arguments {
            state = nil
            for cache in decode.caches ?? [] {
                guard let constraint = model.modelDescription.inputDescriptionsByName[cache.name]?.multiArrayConstraint else {
                    throw ProbeError("\(decode.name) has no cache input \(cache.name)")
                }
                caches[cache.name] = try TextSession.zeros(constraint.shape, constraint.dataType)
            }
        } else {
            state = model.makeState()
        }
    }

    var room: Int { decode.context - position }

    /// Feeds tokens through `function`; gives the logits rows that it has, the last one being that of the last token.
    func feed(_ tokens: [Int], through function: PackageFunction) throws -> LogitRows {
        // What Core ML makes for a call would otherwise live until the whole measurement is over.
        try autoreleasepool { try call(tokens, function) }
    }

    private func call(_ tokens: [Int], _ function: PackageFunction) throws -> LogitRows {
        let started = ContinuousClock.now
        let inputs = try tables.inputs(function, tokens: tokens, position: position)
        var features: [String: MLFeatureValue] = [:]
        for (name, array) in inputs { features[name] = MLFeatureValue(multiArray: try TextSession.multiArray(array)) }
        for (name, array) in caches { features[name] = MLFeatureValue(multiArray: array) }
        let provider = try MLDictionaryFeatureProvider(dictionary: features)
        let model = try package.model(function)
        let predicting = ContinuousClock.now
        let output: any MLFeatureProvider
        if let state {
            output = try model.prediction(from: provider, using: state)
        } else {
            output = try model.prediction(from: provider)
        }
        let predictedMs = milliseconds(since: predicting)
        for name in caches.keys {
            guard let next = output.featureValue(for: "\(name)_out")?.multiArrayValue else {
                throw ProbeError("\(function.name) gave no \(name)_out")
            }
            caches[name] = next
        }
        let rows = try LogitRows(output, function, package.interface, count: tokens.count)
        position += tokens.count
        let totalMs = milliseconds(since: started)
        timing = Timing(totalMs: totalMs, hostMs: max(0, totalMs - predictedMs))
        return rows
    }

    /// Feeds a prompt: through the widest prefill while it pays and fits, the rest by decoding. Gives the logits after its end.
    func feedPrompt(_ prompt: [Int], prefill: PackageFunction?) throws -> [Float] {
        guard !prompt.isEmpty else { throw ProbeError("the prompt has no tokens") }
        var at = 0
        var last: LogitRows?
        while at < prompt.count {
            let left = prompt.count - at
            if let prefill, left > 1, prefill.takes(min(left, prefill.width), at: position) {
                let chunk = Array(prompt[at..<at + min(left, prefill.width)])
                last = try feed(chunk, through: prefill)
                at += chunk.count
            } else {
                last = try feed([prompt[at]], through: decode)
                at += 1
            }
        }
        return try last?.lastRow() ?? []
    }

    private static func multiArray(_ array: HostArray) throws -> MLMultiArray {
        let shape = array.shape.map { NSNumber(value: $0) }
        switch array.values {
        case .float16(let values):
            let made = try MLMultiArray(shape: shape, dataType: .float16)
            made.withUnsafeMutableBytes { bytes, _ in
                values.withUnsafeBytes { bytes.copyMemory(from: $0) }
            }
            return made
        case .int32(let values):
            let made = try MLMultiArray(shape: shape, dataType: .int32)
            made.withUnsafeMutableBytes { bytes, _ in
                values.withUnsafeBytes { bytes.copyMemory(from: $0) }
            }
            return made
        }
    }

    private static func zeros(_ shape: [NSNumber], _ type: MLMultiArrayDataType) throws -> MLMultiArray {
        let made = try MLMultiArray(shape: shape, dataType: type)
        made.withUnsafeMutableBytes { bytes, _ in
            for index in bytes.indices { bytes[index] = 0 }
        }
        return made
    }
}

/// The logits of a call, one row per token that has any.
struct LogitRows {
    private let parts: [(array: MLMultiArray, from: Int, to: Int)]
    private let interface: PackageInterface
    private let isLastOnly: Bool
    /// The tokens of the call whose logits there are, counted from its first.
    let rows: [Int]

    init(_ output: any MLFeatureProvider, _ function: PackageFunction, _ interface: PackageInterface, count: Int) throws {
        func array(_ name: String) throws -> MLMultiArray {
            guard let found = output.featureValue(for: name)?.multiArrayValue else {
                throw ProbeError("\(function.name) gave no \(name)")
            }
            return found
        }
        self.interface = interface
        isLastOnly = function.logits == .last
        rows = isLastOnly ? [count - 1] : Array(0..<count)
        parts = try interface.logits?.map { (array: try array($0.output), from: $0.from, to: $0.to) }
            ?? [(array: try array("logits"), from: 0, to: interface.vocab)]
    }

    func lastRow() throws -> [Float] { try row(rows.count - 1) }

    /// The logits of `rows[index]`, by token, under the soft cap. Arrays may be padded, so every element is found by its strides.
    func row(_ index: Int) throws -> [Float] {
        var logits = [Float](repeating: 0, count: interface.vocab)
        // A function that gives the last logits alone has one column, whatever its width.
        let column = isLastOnly ? 0 : rows[index]
        for part in parts {
            let strides = part.array.strides.map(\.intValue)
            // Plain: (S, vocab). Neural Engine: (1, vocab, 1, S).
            let (start, stride) = interface.layout == .plain
                ? (column * strides[0], strides[1]) : (column * strides[3], strides[1])
            switch part.array.dataType {
            case .float16:
                part.array.withUnsafeBufferPointer(ofType: Float16.self) { values in
                    for token in part.from..<part.to { logits[token] = Float(values[start + (token - part.from) * stride]) }
                }
            case .float32:
                part.array.withUnsafeBufferPointer(ofType: Float.self) { values in
                    for token in part.from..<part.to { logits[token] = values[start + (token - part.from) * stride] }
                }
            default:
                throw ProbeError("logits are of a type that the probe does not read")
            }
        }
        return interface.capped(logits)
    }
}
