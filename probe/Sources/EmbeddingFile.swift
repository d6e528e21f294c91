// Rows of an embedding kept beside the package: a safetensors file that is mapped, not read. fp16 rows, or int8 codes with one
// fp16 scale per row. The model's own factor is applied in fp32 and rounded to fp16 once. Pure Swift.

import Foundation

struct EmbeddingFile: EmbeddingRows {
    private struct Entry {
        let dtype: String
        let shape: [Int]
        let start: Int
    }

    private let data: Data
    private let rows: Entry
    private let scales: Entry?
    private let factor: Float
    private let hidden: Int

    init(url: URL, factor: Float) throws {
        data = try Data(contentsOf: url, options: .alwaysMapped)
        self.factor = factor
        let entries = try EmbeddingFile.entries(data, url.lastPathComponent)
        if let plain = entries["embedding"], plain.dtype == "F16" {
            rows = plain
            scales = nil
        } else if let codes = entries["codes"], let given = entries["scales"], codes.dtype == "I8", given.dtype == "F16" {
            rows = codes
            scales = given
        } else {
            throw ProbeError("\(url.lastPathComponent) holds no embedding that the probe knows")
        }
        hidden = rows.shape.count == 2 ? rows.shape[1] : 0
        let width = scales == nil ? 2 : 1
        guard hidden > 0, rows.start + rows.shape[0] * hidden * width <= data.count else {
            throw ProbeError("\(url.lastPathComponent) is cut short")
        }
    }

    private static func entries(_ data: Data, _ name: String) throws -> [String: Entry] {
        guard data.count >= 8 else { throw ProbeError("\(name) is cut short") }
        let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        guard length > 0, length < 1 << 24, 8 + length <= data.count,
            let header = try JSONSerialization.jsonObject(with: data.subdata(in: 8..<8 + length)) as? [String: Any]
        else { throw ProbeError("\(name) is no safetensors file") }
        var found: [String: Entry] = [:]
        for (key, value) in header {
            guard let fields = value as? [String: Any], let dtype = fields["dtype"] as? String,
                let shape = fields["shape"] as? [Int], let offsets = fields["data_offsets"] as? [Int], offsets.count == 2
            else { continue }
            found[key] = Entry(dtype: dtype, shape: shape, start: 8 + length + offsets[0])
        }
        return found
    }

    func row(_ token: Int) throws -> [Float16] {
        guard token >= 0, token < rows.shape[0] else { throw ProbeError("token \(token) has no row") }
        guard let scales else {
            let start = rows.start + token * hidden * 2
            return (0..<hidden).map { Float16(Float(half(start + 2 * $0)) * factor) }
        }
        let scale = Float(half(scales.start + 2 * token))
        let start = rows.start + token * hidden
        return (0..<hidden).map { Float16(Float(Int8(bitPattern: data[start + $0])) * scale * factor) }
    }

    private func half(_ at: Int) -> Float16 {
        Float16(bitPattern: UInt16(data[at]) | UInt16(data[at + 1]) << 8)
    }
}
