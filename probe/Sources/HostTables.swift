// The host's side of a call: everything a function takes besides its weights and its caches. Which slot a position lives in, the
// rotation tables, the additive masks, where the caches are written. The formulas are those of docs/package-interface.md,
// section "A call"; they are checked off a device against tables computed by other code. Pure Swift: no Core ML here.

import Foundation

enum HostValues: Equatable {
    case float16([Float16])
    case int32([Int32])

    var count: Int {
        switch self {
        case .float16(let values): values.count
        case .int32(let values): values.count
        }
    }
}

struct HostArray: Equatable {
    let shape: [Int]
    let values: HostValues

    init(_ shape: [Int], _ values: [Float16]) {
        self.shape = shape
        self.values = .float16(values)
    }

    init(_ shape: [Int], _ values: [Int32]) {
        self.shape = shape
        self.values = .int32(values)
    }
}

/// Rows of an embedding that is kept outside the package.
protocol EmbeddingRows {
    /// The row of a token, scaled and rounded to fp16.
    func row(_ token: Int) throws -> [Float16]
}

/// The tables outside the package: the embedding where the host looks it up, and per-layer embeddings.
struct RowTables {
    let embedding: EmbeddingRows?
    let perLayer: EmbeddingRows?
}

struct HostTables {
    let interface: PackageInterface
    let rows: RowTables

    /// Inputs by name for `tokens` at `position`. Throws `ProbeError` for tokens that do not fit.
    func inputs(_ function: PackageFunction, tokens: [Int], position: Int) throws -> [String: HostArray] {
        guard function.takes(tokens.count, at: position) else {
            throw ProbeError(
                "\(function.name) cannot take \(tokens.count) tokens at position \(position)",
                hint: "It takes \(function.width) at a time and looks at \(function.context) positions."
            )
        }
        if let wrong = tokens.first(where: { $0 < 0 || $0 >= interface.vocab }) {
            throw ProbeError("token \(wrong) is outside the vocabulary of \(interface.vocab)")
        }
        switch interface.layout {
        case .plain:
            return [
                "ids": HostArray([1, function.width], padded(tokens, function.width)),
                "position": HostArray([1], [Int32(position)]),
            ]
        case .neuralEngine:
            var made = try tokenInputs(function, tokens)
            for rope in interface.ropes ?? [] { made.merge(rotation(rope, function.width, position)) { $1 } }
            for mask in interface.masks ?? [] {
                made[mask.input] = try self.mask(mask, function, count: tokens.count, position: position)
            }
            for cache in function.caches ?? [] {
                made.merge(writes(cache, function.width, count: tokens.count, position: position)) { $1 }
            }
            if function.logits == .last {
                var select = [Float16](repeating: 0, count: function.width)
                select[tokens.count - 1] = 1
                made["select"] = HostArray([1, 1, 1, function.width], select)
            }
            return made
        }
    }

    private func padded(_ tokens: [Int], _ width: Int) -> [Int32] {
        tokens.map { Int32($0) } + [Int32](repeating: 0, count: width - tokens.count)
    }

    private func tokenInputs(_ function: PackageFunction, _ tokens: [Int]) throws -> [String: HostArray] {
        var made: [String: HostArray] = [:]
        if interface.embedding?.location == "host" {
            made["hidden"] = try columns(rows.embedding, interface.hidden ?? 0, tokens, function.width)
        } else {
            made["ids"] = HostArray([1, function.width], padded(tokens, function.width))
        }
        if let perLayer = interface.perLayer {
            made[perLayer.input] = try columns(rows.perLayer, perLayer.channels, tokens, function.width)
        }
        return made
    }

    /// (1, channels, 1, width): the row of each token as a column.
    private func columns(_ table: EmbeddingRows?, _ channels: Int, _ tokens: [Int], _ width: Int) throws -> HostArray {
        guard let table else {
            throw ProbeError("an embedding of this package lies in a file of its own, which is not here")
        }
        var values = [Float16](repeating: 0, count: channels * width)
        for (c, token) in tokens.enumerated() {
            let row = try table.row(token)
            guard row.count == channels else {
                throw ProbeError("an embedding has rows of \(row.count), the package needs \(channels)")
            }
            for channel in 0..<channels { values[channel * width + c] = row[channel] }
        }
        return HostArray([1, channels, 1, width], values)
    }

    private func rotation(_ rope: PackageInterface.Rope, _ width: Int, _ position: Int) -> [String: HostArray] {
        let half = rope.inverseFrequencies.count
        var cosines = [Float16](repeating: 0, count: width * 2 * half)
        var sines = cosines
        for c in 0..<width {
            for i in 0..<half {
                // A product of two fp32 numbers, rounded to fp32, is the angle the model was trained with.
                let angle = Double(Float(position + c) * rope.inverseFrequencies[i])
                let at = c * 2 * half + i
                cosines[at] = Float16(Float(cos(angle) * rope.attentionFactor))
                sines[at] = Float16(Float(sin(angle) * rope.attentionFactor))
                cosines[at + half] = cosines[at]
                sines[at + half] = sines[at]
            }
        }
        let shape = [1, 1, width, 2 * half]
        return [rope.cos: HostArray(shape, cosines), rope.sin: HostArray(shape, sines)]
    }

    private func mask(
        _ mask: PackageInterface.Mask, _ function: PackageFunction, count: Int, position: Int
    ) throws -> HostArray {
        guard let cache = function.caches?.first(where: { $0.name == mask.cache }) else {
            throw ProbeError("\(function.name) has no cache \(mask.cache), which its mask \(mask.input) is for")
        }
        let slots = cache.slots
        let width = function.width
        let masked = Float16(interface.maskedValue ?? -40000)
        let isSplit = cache.attends == .cacheThenChunk
        let columns = isSplit ? slots + width : slots
        var values = [Float16](repeating: masked, count: width * columns)
        // The newest position that lies in the cache when it is read.
        let newest = isSplit ? position - 1 : position + count - 1
        for c in 0..<count {
            let query = position + c
            let seesFrom = mask.window.map { query - $0 + 1 } ?? 0
            for slot in 0..<slots {
                let age = ((newest - slot) % slots + slots) % slots
                let key = newest - age
                if key >= 0, key <= query, key >= seesFrom { values[c * columns + slot] = 0 }
            }
            if isSplit {
                for other in 0...c where position + other >= seesFrom { values[c * columns + slots + other] = 0 }
            }
        }
        return HostArray([1, 1, width, columns], values)
    }

    private func writes(
        _ cache: PackageFunction.Cache, _ width: Int, count: Int, position: Int
    ) -> [String: HostArray] {
        switch cache.write {
        case .slice:
            let begin = Int32(position % cache.slots)
            return [
                "begin_\(cache.name)": HostArray([1], [begin]),
                "end_\(cache.name)": HostArray([1], [begin + Int32(width)]),
            ]
        case .blend:
            var write = [Float16](repeating: 0, count: cache.slots * width)
            var keep = [Float16](repeating: 1, count: cache.slots)
            for c in max(0, count - cache.slots)..<count {
                let slot = (position + c) % cache.slots
                write[slot * width + c] = 1
                keep[slot] = 0
            }
            return [
                "write_\(cache.name)": HostArray([1, 1, cache.slots, width], write),
                "keep_\(cache.name)": HostArray([1, 1, cache.slots, 1], keep),
            ]
        }
    }
}

extension PackageInterface {
    /// What the model says, c · tanh(z / c) where a soft cap is left to the host.
    func capped(_ logits: [Float]) -> [Float] {
        guard let finalSoftcap, !finalSoftcap.applied else { return logits }
        let cap = finalSoftcap.cap
        return logits.map { Float(cap * tanh(Double($0) / cap)) }
    }
}

/// The first of the largest; nil when any number is not finite.
func argmax(_ values: [Float]) -> Int? {
    var best = 0
    for (i, value) in values.enumerated() {
        if !value.isFinite { return nil }
        if value > values[best] { best = i }
    }
    return values.isEmpty ? nil : best
}
